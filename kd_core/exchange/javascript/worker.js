// Runs an opening's models off the page's thread. In: {file, shape}, kd_core.exchange.opening's browser_models as an
// ArrayBuffer, once; then {ink, side}, a drawing, or {image}. Out: {ready}, or {failed}; then
// {image, logits: {role: K numbers}}, both null where nothing is drawn.

let models;

function open(file, shape) {
  const { tensors, program } = unpacked(file);
  const flat = [shape.reduce((a, b) => a * b)];
  models = Object.entries(program).map(([role, nodes]) => {
    const own = Object.fromEntries(Object.entries(tensors).filter(([name]) => name.startsWith(`${role}.`)));
    return [role, network({ nodes, tensors: own }, flat)];
  });
}

onmessage = ({ data: { file, shape, ink, side, image = null } }) => {
  if (file) {
    try { open(file, shape); } catch { postMessage({ failed: true }); return; }
    postMessage({ ready: true });
    return;
  }
  if (ink) image = asMnist(ink, side, side);
  postMessage({ image, logits: image && Object.fromEntries(models.map(([role, run]) => [role, run(image)])) });
};

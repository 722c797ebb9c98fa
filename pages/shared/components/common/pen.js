// Models that answer while somebody draws: they run in a worker, which is fetched once it is needed. answered: called with
// {image, logits} of each question; of several questions that wait, the newest is put.
function modelsOf(dataset, answered, failed) {
  const models = { worker: undefined, begun: undefined, ready: false, busy: false, question: undefined };
  const next = () => {
    if (!models.ready || models.busy || !models.question) return;
    models.busy = true;
    models.worker.postMessage(models.question());
    models.question = undefined;
  };
  const broken = () => { models.end(); failed(); };
  models.begin = async () => {
    if (models.begun) return;
    const begun = (models.begun = {});
    try {
      const [script, file] = await Promise.all([fetched("pen.js"), fetched(`models/${dataset}`)]);
      if (models.begun !== begun) return; // it has ended meanwhile
      models.worker = workerOf(script);
      models.worker.postMessage({ file, shape: [1, 28, 28] }, [file]);
    } catch {
      if (models.begun === begun) broken();
      return;
    }
    models.worker.onmessage = ({ data }) => {
      if (data.failed) { broken(); return; }
      models.busy = false;
      if (data.ready) models.ready = true;
      else answered(data);
      next();
    };
  };
  models.ask = (question) => { models.question = question; models.begin(); next(); };
  models.end = () => { models.worker?.terminate(); Object.assign(models, { worker: undefined, begun: undefined, ready: false, busy: false, question: undefined }); };
  return models;
}

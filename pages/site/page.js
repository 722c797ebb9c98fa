// What Streamlit and Python do for a component in the app: it mounts with its data, and what rests stands in the address,
// here after #, and comes back from it.

const page = window.kdLabPage, named = new URLSearchParams(location.hash.slice(1));
const mounted = {}, waiting = {};

async function spread(text) { // what `packed` packed
  const stream = new Blob([bytes(text.replaceAll("-", "+").replaceAll("_", "/"))]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
async function drawingOf(image) { // of an address; null where there is none that can be read
  try {
    const pixels = image.startsWith("drawn-") ? await spread(image.slice(6)) : [];
    return pixels.length === 28 * 28 ? pixels : null;
  } catch { return null; }
}
async function logitsOf(text, models, classes) { // logits that were moved by hand, in hundredths
  try {
    const steps = text ? new Int16Array((await spread(text)).buffer) : [];
    return steps.length === models * classes ? Array.from({ length: models }, (_, m) => Array.from(steps.slice(m * classes, (m + 1) * classes), (step) => Math.min(300, Math.max(-300, step / 100)))) : null;
  } catch { return null; }
}
function number(name, start, low, high) {
  const value = named.has(name) ? Number(named.get(name)) : start;
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : start;
}

const ADDRESS = { // a component's part of the address, as the pages' Python reads it
  opening: async ({ roles, classes }) => {
    const drawn = await drawingOf(named.get("image") ?? "");
    return { image: named.get("image") ?? "", drawn: drawn && btoa(String.fromCharCode(...drawn)), ...slider(1), moved: await logitsOf(named.get("logits"), roles.length, classes.length) };
  },
  temperature_slider: () => slider(4),
  playground: () => ({ ...slider(4), log: false, view: JSON.stringify(Object.fromEntries(page.settings.filter((name) => named.has(name)).map((name) => [name, named.get(name)]))) }),
  digits: () => ({ images: named.get("digits") ?? "fifth" }),
  knowledge: () => ({ diagonal: number("diagonal", 0, 0, 100) }),
  felt: () => ({ alpha: number("alpha", 0.9, 0, 1) }),
};
const slider = (start) => ({ temperature: number("T", start, 0.1, 100), log: named.get("axis") === "log" });

function keep(name, value) {
  if (name === "view") {
    for (const setting of page.settings) named.delete(setting);
    for (const [setting, text] of Object.entries(JSON.parse(value))) named.set(setting, text);
  } else if (value === "") named.delete(name);
  else named.set(name, String(value));
  location.replace(`#${named}`);
  carry();
}
function carry() { // links that go on with what is set here: with all of it, or with what they name
  for (const link of document.querySelectorAll("a[data-carries]")) {
    const names = link.dataset.carries.split(" ").filter(Boolean), carried = new URLSearchParams([...named].filter(([name]) => !names.length || names.includes(name)));
    link.hash = carried.toString();
  }
}
onhashchange = () => { if (new URLSearchParams(location.hash.slice(1)).toString() !== named.toString()) location.reload(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const show of Object.values(mounted)) show(); });

async function show(name, data) { // what a component shows from now on
  if (!mounted[name]) { waiting[name] = data; return; }
  mounted[name].data = { ...data, ...(await ADDRESS[name]?.(data)) };
  mounted[name]();
}
function mount(name, element, style, mountIn) {
  const root = document.getElementById(name).attachShadow({ mode: "open" });
  root.innerHTML = `<style>${style}</style><div class="${element}"></div>`;
  mounted[name] = () => { if (mounted[name].data) mountIn({ data: mounted[name].data, parentElement: root, setStateValue: keep, setTriggerValue: (event, value) => window.kdLab.happened(name, event, value) }); };
  const data = waiting[name] ?? page.data[name];
  if (data) show(name, data);
}

carry();
window.kdLab = { page, named, keep, show, mount, drawingOf, logitsOf, happened: () => {} };
if (location.protocol.startsWith("http")) navigator.serviceWorker?.register(`${page.root}offline.js`).catch(() => {});

// What the components share. Each begins with this file, after kd_core/exchange/javascript/maths.js.

// A sentence in the language that is read, with its values: _("{name} has no weights", { name }). WORDS: what of this
// script is translated, template -> translation, which the server writes before it (browser.py). As pages/shared/language.py.
const _ = (template, values = {}) => withParticles((typeof WORDS === "undefined" ? template : WORDS[template] ?? template)
  .replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place));
const plural = (one, many, count, values = {}) => _(count === 1 ? one : many, { count: count.toLocaleString("en"), ...values });

// Korean whose particles fit what stands before them: "3은(는)" reads "3은".
const PARTICLES = { "은(는)": "은는", "이(가)": "이가", "을(를)": "을를", "과(와)": "과와", "이(라)": ["이라", "라"], "으로(로)": ["으로", "로"] };
const withParticles = (text) => text.replace(/(\S)([)\]'"”’*`]*(?:\([^()]*\))?[)\]'"”’*`]*)(은\(는\)|이\(가\)|을\(를\)|과\(와\)|이\(라\)|으로\(로\))/g, (all, last, marks, particle) => {
  const place = last >= "가" && last <= "힣" ? (last.charCodeAt(0) - 0xac00) % 28 : -1;
  const closed = place > 0 || /[013678lmnr]/i.test(last), l = place === 8 || /[178lr]/i.test(last);
  return last + marks + PARTICLES[particle][closed && !(particle === "으로(로)" && l) ? 0 : 1];
});

const MOST_CLASSES = 12; // of more, bars would be too thin: the likeliest have their own, and all others one together

// What to draw a bar for: lists of classes, each with its name. first: the logits that say which are likeliest; also:
// classes that are shown whatever these say.
function barsOf(classes, first, also) {
  if (classes.length <= MOST_CLASSES) return classes.map((name, k) => ({ name, members: [k] }));
  const wanted = new Set(also.filter((k) => k !== null && k !== undefined));
  const ranked = classes.map((_, k) => k).sort((a, b) => first[b] - first[a]);
  for (const k of ranked) if (wanted.size < MOST_CLASSES - 1) wanted.add(k);
  const bars = ranked.filter((k) => wanted.has(k)).map((k) => ({ name: classes[k], members: [k] }));
  const others = ranked.filter((k) => !wanted.has(k));
  return [...bars, { name: _("{count} others", { count: others.length.toLocaleString("en") }), members: others, others: true }];
}
const shareOf = (bar, probabilities) => bar.members.reduce((sum, k) => sum + probabilities[k], 0);

// Long names want bars that lie: a name fits beside one, not under it.
const lie = (classes) => classes.some((name) => name.length > 3) || classes.length > MOST_CLASSES;

// A class as words.with_article names an image of it: a 3, an 8, an F, and longer names as they are.
const withArticle = (name) => !/^([0-9]+|[A-Za-z])$/.test(name) ? name
  : /^(8|1[18]([0-9]{3})*$|[AEFHILMNORSX])/i.test(name) ? _("an {name}", { name }) : _("a {name}", { name });

// A heading with a term of the glossary, {term: what it means}, is explained where it stands.
function explained(text, parent, glossary) {
  const known = Object.keys(glossary).find((term) => text.includes(term));
  element(known ? "abbr" : "span", "", parent, text).title = known ? glossary[known] : "";
}

function element(tag, className, parent, text, properties = {}) {  // what is no property is set as an attribute
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(properties)) name in made ? made[name] = value : made.setAttribute(name, value);
  parent.append(made);
  return made;
}

function legendEntry(legend, colour, text, kind = "") {
  const entry = element("span", "key", legend);
  const mark = element("i", kind, entry);
  if (colour) mark.style.background = colour;
  element("span", "", entry, text);
}

// Empty a table, write its head and return its body.
function bodyUnder(table, titles, glossary) {
  table.replaceChildren();
  const head = element("tr", "", element("thead", "", table));
  for (const title of titles) explained(title, element(title ? "th" : "td", "", head), glossary);
  return element("tbody", "", table);
}

// Small images as a grid of buttons, all cut from one strip, one stop for Tab. tiles: {caption, label} each; choose:
// called with an index. The same tiles stay, and keep the focus.
function tileGrid(grid, { strip, smooth }, tiles, choose) {
  grid.kdChoose = choose;
  const drawn = strip + JSON.stringify(tiles);
  if (grid.kdDrawn === drawn) return;
  grid.kdDrawn = drawn;
  grid.onkeydown = (event) => {
    const all = [...grid.children], row = all.filter((tile) => tile.offsetTop === all[0].offsetTop).length;
    const to = all[all.indexOf(event.target) + { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row }[event.key]];
    if (!to) return;
    to.focus();
    event.preventDefault();
  };
  grid.replaceChildren();
  grid.classList.toggle("smooth", smooth);
  tiles.forEach(({ caption, label }, index) => {
    const tile = element("button", "tile", grid, undefined, { type: "button", title: caption, "aria-label": label ?? caption });
    const { style } = element("span", "", tile);
    style.backgroundImage = `url(${strip})`;
    style.backgroundSize = `${100 * tiles.length}% 100%`;
    style.backgroundPosition = tiles.length > 1 ? `${(100 * index) / (tiles.length - 1)}% 0` : "0 0";
    tile.onclick = () => grid.kdChoose(index);
    tile.onfocus = () => { for (const other of grid.children) other.tabIndex = other === tile ? 0 : -1; };
  });
}

function markTile(grid, chosen) {
  [...grid.children].forEach((tile, index) => {
    tile.classList.toggle("selected", index === chosen);
    tile.setAttribute("aria-pressed", String(index === chosen));
    if (!grid.contains(grid.getRootNode().activeElement)) tile.tabIndex = index === Math.max(0, chosen) ? 0 : -1;
  });
}

// What one hand moves, all components of a page follow, at most once a frame: T, log (the axis), alpha, diagonal, lit (a
// class that is pointed at), moved (logits of runs that were dragged, by id).
const hand = window.__kdLabHand ??= { state: { lit: null, moved: {} }, followers: new Set() };
function move(change) {
  Object.assign(hand.state, change);
  hand.frame ??= requestAnimationFrame(() => {
    hand.frame = undefined;
    for (const follow of hand.followers) follow(hand.state);
  });
}
function followed(follow) { // returns what ends it
  hand.followers.add(follow);
  follow(hand.state);
  window.dispatchEvent(new Event("kd-drawn")); // what an address locks, prepare.js locks in a component too
  return () => hand.followers.delete(follow);
}
function lights(part, k) { // whoever points at this part, or has the focus in it, points at this class
  for (const event of ["pointerenter", "focusin"]) part.addEventListener(event, () => move({ lit: k }));
  for (const event of ["pointerleave", "focusout"]) part.addEventListener(event, () => move({ lit: null }));
}

const logitsNow = (model) => hand.state.moved[model.id] ?? model.logits;

// Sends values to Python, which answers with what it was sent: an echo, while the hand may have moved on, is no wish of
// somebody else's.
function echoing(send) {
  const sent = [];
  let known;
  return {
    get newest() { return sent.at(-1) ?? known; },
    send(value) { sent.push(value); send(value); },
    isNew(value) { // whether a value that Python names is a wish
      const echo = sent.indexOf(value), wish = known !== value && echo === -1;
      sent.splice(0, echo + 1);
      known = value;
      return wish;
    },
  };
}

const SETTLE_MS = 150;
function settling(send) { // sends what has come to rest
  const echo = echoing(send);
  let timer;
  return {
    rest(value) {
      clearTimeout(timer);
      timer = setTimeout(() => { if (echo.newest !== value) echo.send(value); }, SETTLE_MS);
    },
    isNew: echo.isNew,
    end: () => clearTimeout(timer),
  };
}
const superscript = (whole) => [...String(whole)].map((letter) => (letter === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[letter])).join("");
const percent = (p) => p >= 0.0995 ? (100 * p).toFixed(0) + "%" : p >= 0.001 ? (100 * p).toFixed(1) + "%"
  : p === 0 ? "0" : p.toExponential(0).replace(/e(-\d+)$/, (_, power) => "·10" + superscript(power));
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)); // of base64
const halves = (text) => { // base64 of float16 numbers
  return Float32Array.from(new Uint16Array(bytes(text).buffer), (half) => {
    const sign = half & 0x8000 ? -1 : 1, power = (half >> 10) & 31, part = half & 1023;
    return power === 31 ? sign * Infinity : power ? sign * 2 ** (power - 15) * (1 + part / 1024) : sign * part * 2 ** -24;
  });
};
async function packed(content) { // as kd_core.base.packed.pack
  const stream = new Blob([content]).stream().pipeThrough(new CompressionStream("deflate"));
  const short = new Uint8Array(await new Response(stream).arrayBuffer());
  return btoa(String.fromCharCode(...short)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
function workerOf(script) { // a text, or its bytes
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" })), worker = new Worker(address);
  URL.revokeObjectURL(address);
  return worker;
}
// Bytes that a page needs later: from the server's assets, and on the static site (pages/site), where a file may fetch none,
// from the script that holds them.
async function fetched(path) {
  const beside = window.kdLabFiles?.[path];
  if (!beside) {
    const answer = await fetch(new URL(`assets/${path}`, document.baseURI));
    if (!answer.ok) throw new Error(answer.status);
    return answer.arrayBuffer();
  }
  if (!window.kdLabContent?.[path])
    await new Promise((onload, onerror) => document.head.append(Object.assign(document.createElement("script"), { src: beside, onload, onerror })));
  const stream = new Blob([bytes(window.kdLabContent[path])]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// Stage view: one part of the page full screen, large enough for the back row. Python keeps which part in the address, and
// over a change of page (stage.py); all else happens here.

const LARGE = 20, SCREEN = [1920, 1080]; // pixels: the smallest type, on a screen of this size
const SMALL = 13; // pixels, of charts and tables: what may still come is no reason to enlarge anew
const AT_MOST = 2.4; // times as large, however small some type is
const TEXT_ALONE = 1.5; // times larger still, where a part is words
const PICTURES = 'img, canvas, input, table, .main-svg, [data-testid^="stBidiComponent"]';
const QUIET_MS = 2500; // until the stage's own bar leaves
const PATIENCE_MS = 6000; // how long a page that is still arriving is kept out of sight
const ARRIVING = '[data-testid="stSkeleton"], .kd-chart:not(:has(svg))';
const TYPED_IN = 'input:not([type="checkbox"], [type="radio"], [type="range"], [type="button"]), textarea, select, canvas, dialog,'
  + ' [contenteditable="true"], [role="textbox"], [role="combobox"], [role="listbox"], [role="menu"], [role="dialog"]';
const MOVED_IN = '[type="range"], [type="radio"], [role="slider"], [role="radiogroup"], [role="tablist"], [role="grid"], [role="application"], .kd-grid';
const SHOWS = 'p, h1, h2, h3, img, svg, button, input, table, hr, [data-testid^="stBidiComponent"]';
const OURS = ".st-key-room, .st-key-uploads";
const STAGE_ICON = "M3 4h18v12H3V4Zm2 2v8h14V6H5Zm-1 12h16v2H4v-2Z";
const STEPS = { ArrowRight: 1, ArrowLeft: -1, PageDown: 1, PageUp: -1 }; // the last two are those of a presenter's remote
const root = document.documentElement;

const within = (event, selector) => event.composedPath().some((node) => node.matches?.(selector));
const pageBody = () => document.querySelector('.stMainBlockContainer > [data-testid="stVerticalBlock"]');
const busy = () => document.querySelector(".stApp")?.dataset.testScriptState !== "notRunning";
const ownHeading = (place) => place.querySelector(':scope > [data-testid="stHeading"]');
const sticks = (place) => [place, ...place.children].some((part) => getComputedStyle(part).position === "sticky");

// The parts of a page: the lesson's step, then those that the page marks (keys that begin with part_), or else what stands
// under each heading or line of the page itself. What sticks to the top is in all parts after it.
function partsOf(page) {
  const parts = [], stays = [];
  const begin = () => parts.push([...stays]);
  const marked = [...page.querySelectorAll('[class*="st-key-part_"]')];
  for (const place of page.children) {
    const line = place.matches(".stElementContainer") && place.querySelector("hr");
    if (place.matches(OURS) || place.querySelector(OURS) || !(place.matches(SHOWS) || place.querySelector(SHOWS))) continue;
    if (sticks(place)) { stays.push(place); parts.at(-1)?.push(place); continue; }
    if (place.querySelector(".st-key-lesson")) { begin(); parts.at(-1).push(place); begin(); continue; }
    if (marked.length) continue;
    if (line || ownHeading(place) || !parts.length) begin();
    if (!line) parts.at(-1).push(place);
  }
  for (const place of marked) parts.push([...stays, place]);
  return parts.filter((part) => part.some((place) => !stays.includes(place)));
}

function nameOf(part) {
  const titles = part.map((place) => place.querySelector(".st-key-lesson strong, h1, h2, h3")?.textContent);
  return titles.find(Boolean) ?? document.querySelector("h1")?.textContent ?? "";
}

// In pixels before enlarging; of what is there for eyes, exponents aside.
function smallestType(places) {
  let smallest = Infinity;
  const look = (node) => {
    const around = node.parentElement;
    if (node.nodeType === Node.TEXT_NODE && node.data.trim() && around?.checkVisibility() && (around.offsetWidth ?? 2) > 1) {
      smallest = Math.min(smallest, parseFloat(getComputedStyle(around).fontSize));
    }
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches('script, style, .katex, sub, sup, tspan[style*="70%"]')) return;
    for (const inner of [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes]) look(inner);
  };
  places.forEach(look);
  return Number.isFinite(smallest) ? smallest : 16;
}

// Mark the places of a part, and what they lie in: all else is hidden (room.css). null: there is no stage.
function mark(page, places) {
  const way = new Set();
  for (const place of places ?? []) for (let up = place.parentElement; up && up !== page.parentElement; up = up.parentElement) way.add(up);
  if (places && page) way.add(page);
  for (const place of document.querySelectorAll("[data-kd-on], [data-kd-way]")) {
    place.toggleAttribute("data-kd-on", Boolean(places?.includes(place)));
    place.toggleAttribute("data-kd-way", way.has(place));
  }
  for (const place of places ?? []) place.toggleAttribute("data-kd-on", true);
  for (const place of way) place.toggleAttribute("data-kd-way", true);
}

function stage(view) {
  const bar = element("div", "kd-stage-bar", view.host, undefined, { role: "toolbar", "aria-label": _("Stage") });
  const button = (text, label, act) => Object.assign(element("button", "kd-plain", bar, text, { type: "button", "aria-label": label, title: label }), { onclick: act });
  const back = button("‹", _("The part before (left)"), () => go(-1));
  const where = element("span", "", bar);
  const ahead = button("›", _("The next part (right)"), () => go(1));
  button(_("Share"), _("Share this view"), () => view.openShare());
  button("✕", _("Leave the stage (s)"), () => leave());
  const status = element("div", "kd-hidden", view.host, undefined, { role: "status" });
  const echo = echoing((wanted) => view.send("stage", wanted));
  let part = 0, beyond = false, drawn = "0 0 0 1.000", drawing, quiet, full = false, path, awaited = 0;

  const stir = () => {
    root.toggleAttribute("data-kd-stirred", true);
    clearTimeout(quiet);
    quiet = setTimeout(() => root.removeAttribute("data-kd-stirred"), QUIET_MS);
  };

  // A page on the stage comes into sight once, when all of it is there: what it enlarges to does not change then.
  function reveal(places) {
    if (path !== location.pathname && part) {
      path = location.pathname;
      awaited = performance.now() + PATIENCE_MS;
      setTimeout(redraw, PATIENCE_MS);
    }
    const arrives = busy() || !places.length || places.some((place) => place.querySelector(ARRIVING));
    root.toggleAttribute("data-kd-comes", part > 0 && arrives && performance.now() < awaited);
    if (!arrives) awaited = 0;
  }

  function draw() {
    drawing = undefined;
    const page = pageBody(), parts = part && page ? partsOf(page) : [];
    if (beyond && !busy()) arrive(parts.length);
    const shown = Math.min(part, busy() ? part : parts.length), places = parts[shown - 1] ?? [];
    root.toggleAttribute("data-kd-stage", part > 0);
    mark(page, part ? places : null);
    const share = Math.min(innerWidth / SCREEN[0], innerHeight / SCREEN[1]);
    reveal(places);
    const words = !awaited && !places.some((place) => place.querySelector(PICTURES));
    root.toggleAttribute("data-kd-words", words);
    const enlarged = LARGE * share * (words ? TEXT_ALONE / smallestType(places) : 1 / Math.min(SMALL, smallestType(places)));
    const times = (Math.ceil(1000 * Math.min(AT_MOST, Math.max(1, enlarged))) / 1000).toFixed(3);
    root.style.setProperty("--kd-stage", times);
    const state = `${shown} ${parts.length} ${places.length} ${times}`;
    if (state === drawn) return;
    drawn = state;
    requestAnimationFrame(() => dispatchEvent(new Event("resize"))); // a chart that was drawn out of sight has no width yet
    view.parts = { shown, count: parts.length };
    where.textContent = places.length ? `${shown} / ${parts.length} · ${nameOf(places)}` : "…";
    back.disabled = shown === 1 && !lesson("back");
    ahead.disabled = shown === parts.length && !lesson("next");
    if (places.length) status.textContent = _("Stage, part {part} of {count}: {name}", { part: shown, count: parts.length, name: nameOf(places) });
    if (page) sized.observe(page);
  }
  const redraw = () => { drawing ??= requestAnimationFrame(draw); };
  const lesson = (way) => document.querySelector(`.st-key-lesson_${way} button`);

  function show(wanted) {
    part = wanted;
    document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
    draw();
  }
  function arrive(count) { // where a step led while its page was still being drawn: to a part, or to the lesson's next step
    beyond = false;
    if (part <= count) { echo.send(part); return; }
    part = count;
    lesson("next")?.click();
  }
  function go(step) {
    const { shown, count } = view.parts ?? { shown: part, count: part };
    const next = shown + step;
    beyond = next > count && busy(); // of a page that is still being drawn, more parts may come
    if (next < 1 || (next > count && !beyond)) {
      lesson(step > 0 ? "next" : "back")?.click();
      return;
    }
    show(next);
    if (beyond) return;
    echo.send(next);
    stir();
  }
  function enter() {
    show(1);
    echo.send(1);
    stir();
    full = true;
    root.requestFullscreen?.().catch(() => { full = false; });
  }
  function leave() {
    show(0);
    echo.send(0);
    status.textContent = _("You have left the stage.");
    if (document.fullscreenElement) document.exitFullscreen();
  }
  const toggle = () => (part ? leave() : enter());
  const press = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || within(event, TYPED_IN)) return;
    if (event.key === "s" && !event.repeat) return toggle();
    if (!part) return;
    if (event.key === "Escape") return leave();
    if (STEPS[event.key] && !(event.key.startsWith("Arrow") && within(event, MOVED_IN))) { event.preventDefault(); event.stopPropagation(); go(STEPS[event.key]); }
  };
  const sized = new ResizeObserver(() => { if (part) redraw(); }); // what components draw inside themselves changes no document
  const fullscreen = () => { if (full && !document.fullscreenElement && part) leave(); };

  const changed = new MutationObserver(() => { if (part) redraw(); });
  changed.observe(document.querySelector(".stApp"), { childList: true, subtree: true, attributes: true, attributeFilter: ["data-test-script-state"] });
  const heard = [[window, "keydown", press, true], [window, "resize", () => part && redraw()], [document, "fullscreenchange", fullscreen],
    [window, "pointermove", () => part && stir()], ...glow(view)];
  for (const [target, type, act, capture] of heard) target.addEventListener(type, act, { capture: Boolean(capture), passive: type.startsWith("touch") });
  return {
    enter: toggle,
    take(wanted) { if (echo.isNew(wanted)) show(wanted); }, // what Python names
    end() {
      changed.disconnect();
      sized.disconnect();
      for (const [target, type, act, capture] of heard) target.removeEventListener(type, act, { capture: Boolean(capture) });
    },
  };
}

// A finger, a pen or a pressed mouse shines, so that the back row sees what is pointed at.
function glow(view) {
  const light = element("div", "kd-glow", view.host, undefined, { "aria-hidden": "true" });
  const shine = (x, y) => {
    if (!root.hasAttribute("data-kd-stage")) return;
    light.style.transform = `translate(${x}px, ${y}px)`;
    light.classList.add("on");
  };
  const fade = () => light.classList.remove("on");
  const finger = ({ touches: [touch] }) => (touch ? shine(touch.clientX, touch.clientY) : fade());
  const pointer = (event) => { if (event.pointerType !== "touch" && event.buttons) shine(event.clientX, event.clientY); };
  return [
    [window, "touchstart", finger, true], [window, "touchmove", finger, true], [window, "touchend", finger, true], [window, "touchcancel", fade, true],
    [window, "pointerdown", pointer, true], [window, "pointermove", pointer, true], [window, "pointerup", fade, true],
  ];
}

// Prepared views: controls that an address hides or locks, and the editor that makes such an address. Python's
// prepared.py reads the address and hides what lies in the page itself.

const GUARDED = ["pointerdown", "mousedown", "touchstart", "click", "keydown", "beforeinput", "input", "change", "wheel", "paste", "drop"];
const STATES = [["", _("shown")], ["lock", _("fixed")], ["hide", _("hidden")]];
const DOES = "input, select, textarea, button, [contenteditable]";

const shadows = () => [...document.querySelectorAll('[data-testid="stBidiComponentIsolated"]')].flatMap((host) => host.shadowRoot ?? []);
const everywhere = (selector) => [document, ...shadows()].flatMap((root) => [...root.querySelectorAll(selector)]);
const marked = (selector, rule) => selector ? `:is(${selector}) { ${rule} }\n` : "";

// Hide and lock inside the components too, whenever the page has drawn some. What is locked can still be read and reached
// by the keyboard, and says that it is disabled.
function prepare({ data }) {
  if (!data.hidden && !data.locked) return () => {};
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(marked(data.hidden, "display: none !important") + marked(data.locked, "pointer-events: none; opacity: 0.65"));
  const dress = () => {
    for (const root of [document, ...shadows()]) {
      if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
    }
    for (const part of data.locked ? everywhere(data.locked) : []) {
      for (const control of [part, ...part.querySelectorAll(DOES)]) {
        if (control.matches(DOES) && control.ariaDisabled !== "true") control.setAttribute("aria-disabled", "true");
      }
    }
  };
  const guard = (event) => {
    if (!data.locked || event.key === "Tab" || !event.composedPath().some((part) => part.matches?.(data.locked))) return;
    event.stopImmediatePropagation();
    if (event.type !== "touchstart") event.preventDefault(); // a finger may still scroll the page
  };
  for (const type of GUARDED) window.addEventListener(type, guard, { capture: true, passive: false });
  const drawn = new MutationObserver(dress);
  drawn.observe(document.querySelector(".stApp"), { childList: true, subtree: true });
  window.addEventListener("kd-drawn", dress); // of a component, in whose shadow no observer looks
  dress();
  return () => {
    drawn.disconnect();
    window.removeEventListener("kd-drawn", dress);
    for (const type of GUARDED) window.removeEventListener(type, guard, { capture: true });
    for (const root of [document, ...shadows()]) root.adoptedStyleSheets = root.adoptedStyleSheets.filter((other) => other !== sheet);
  };
}

// What of this page an address can hide or lock: name -> what the page calls it.
function controls({ data }) {
  const named = new Map();
  const drawn = document.querySelectorAll('[data-testid="stMain"] [data-testid="stElementContainer"][class*="st-key-"]');
  for (const place of drawn) {
    const key = /(?:^| )st-key-([\w-]+)/.exec(place.className)?.[1];
    const acts = place.querySelector(DOES);
    if (!key || !acts || data.not.some((start) => key.startsWith(start))) continue;
    const label = place.querySelector('[data-testid="stWidgetLabel"] p') ?? acts.closest("button");
    const words = [...(label ?? place).querySelectorAll("p")].map((line) => line.textContent).join(" ") || label?.textContent;
    named.set(data.names[key] ?? key, acts.ariaLabel || words || key);
  }
  for (const part of everywhere("[data-control]")) {
    for (const name of part.dataset.control.split(" ")) named.set(name, data.called[name] ?? name);
  }
  return named.set("pages", data.called.pages);
}

const stand = (state) => new URLSearchParams(location.search).getAll(state).join(",").split(",").filter(Boolean);

function editor(view, parent) {
  const fold = element("details", "kd-prepare", parent);
  element("summary", "", fold, _("Prepare it for a class"));
  element("p", "", fold, _("Whoever opens the address sees a control as it stands, cannot change it, or does not see it."));
  const onStage = element("label", "kd-check", fold);
  const stage = element("input", "", onStage, undefined, { type: "checkbox" });
  element("span", "", onStage, _("Open it on the stage"));
  const list = element("div", "kd-controls", fold);
  const collect = () => {
    const rows = [...list.querySelectorAll("select")];
    const listed = rows.map((row) => row.dataset.name);
    const named = (state) => [ // what the address names and this page does not draw now stays
      ...stand(state).filter((name) => !listed.includes(name)),
      ...rows.filter((row) => row.value === state).map((row) => row.dataset.name),
    ].join(",");
    view.changes = { hide: named("hide"), lock: named("lock"), stage: stage.checked ? "1" : "" };
    view.refresh();
  };
  stage.onchange = list.onchange = collect;
  fold.ontoggle = () => {
    if (!fold.open) return;
    stage.checked = new URLSearchParams(location.search).has("stage");
    list.replaceChildren();
    for (const [name, called] of controls(view)) {
      const row = element("label", "", list);
      element("span", "", row, called);
      const choice = element("select", "", row, undefined, { "aria-label": called });
      choice.dataset.name = name;
      for (const [value, text] of STATES) element("option", "", choice, text, { value });
      choice.value = ["hide", "lock"].find((state) => stand(state).includes(name)) ?? "";
    }
  };
  return () => { fold.open = false; };
}

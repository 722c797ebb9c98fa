// The bar of every page. It lies outside what Streamlit draws, so that no rerun and no stage takes it away.

const SHARE_ICON = "M18 16a3 3 0 0 0-2.4 1.2L8.9 13.6a3 3 0 0 0 0-3.2l6.7-3.6A3 3 0 1 0 15 5c0 .2 0 .4.1.6L8 9.4a3 3 0 1 0 0 5.2l7.1 3.8A3 3 0 1 0 18 16Z";

function icon(path, parent) {
  const drawn = (tag, into) => into.appendChild(document.createElementNS("http://www.w3.org/2000/svg", tag));
  const svg = drawn("svg", parent);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  drawn("path", svg).setAttribute("d", path);
}

function barButton(bar, path, name, text, title) {
  const button = element("button", "kd-plain", bar, undefined, { type: "button", title, "data-control": name });
  icon(path, button);
  element("span", "", button, text);
  return button;
}

// The same view in another language, which it names in that language's own words; on a phone by a mark.
function languageButton(bar, { code, name, mark, title }) {
  const button = element("button", "kd-plain", bar, undefined, { type: "button", title, lang: code, "data-control": "language" });
  element("b", "", button, mark, { "aria-hidden": "true" });
  element("span", "", button, name);
  button.onclick = () => {
    const address = new URL(location.href);
    address.searchParams.set("lang", code);
    location.assign(address);
  };
}

function build(app, languages) {
  const view = { host: element("div", "kd-room-host", app, undefined, { role: "region", "aria-label": _("For a class") }) };
  const bar = element("div", "kd-bar", view.host);
  const share = barButton(bar, SHARE_ICON, "share", _("Share"), _("Copy the address of this view, and show its QR code"));
  const open = sharePanel(view);
  share.onclick = view.openShare = open;
  view.stage = stage(view);
  view.classroom = classroom(view, bar);
  barButton(bar, STAGE_ICON, "stage", _("Stage"), _("Stage view: one part of the page full screen (s)")).onclick = view.stage.enter;
  for (const other of languages) languageButton(bar, other);
  view.host.onkeydown = (event) => event.stopPropagation(); // keys that are Streamlit's
  return view;
}

export default function ({ data, parentElement, setStateValue }) {
  const view = (parentElement.kdRoom ??= build(document.querySelector(".stApp"), data.languages));
  Object.assign(view, { data, send: setStateValue });
  view.stage.take(data.stage);
  const unprepare = prepare(view);
  return () => {
    unprepare();
    view.stage.end();
    view.classroom.end();
    clearInterval(view.following);
    view.host.remove();
    parentElement.kdRoom = undefined;
  };
}

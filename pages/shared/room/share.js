// Share: the address of exactly this view, copied at once, with its QR code to photograph.

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
const FOLLOW_MS = 300; // how soon the open panel follows an address that changes under it

// What others open to see this view: the address that this browser has, by the name that others have for this machine.
function sharedAddress({ data, changes = {} }) {
  const address = new URL(location.href);
  address.hash = "";
  if (data.network && LOOPBACK.test(address.hostname)) address.hostname = data.network;
  for (const [name, value] of Object.entries(changes)) value ? address.searchParams.set(name, value) : address.searchParams.delete(name);
  address.search = address.search.replaceAll("%2C", ","); // as people write it
  return address.href;
}

async function copied(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch { // a page that came by http from another machine has no clipboard of its own
    field.select();
    return document.execCommand("copy");
  }
}

function sharePanel(view) {
  const panel = element("dialog", "kd-share", view.host, undefined, { "aria-label": _("Share this view") });
  const head = element("div", "kd-head", panel);
  element("h2", "", head, _("Share this view"));
  const close = element("button", "kd-plain", head, "✕", { type: "button", "aria-label": _("Close") });
  const code = element("img", "kd-code", panel, undefined, { alt: _("QR code of the address below") });
  const row = element("div", "kd-row", panel);
  const field = element("input", "", row, undefined, { type: "text", readOnly: true, "aria-label": _("Address of this view") });
  const copy = element("button", "kd-filled", row, _("Copy"), { type: "button" });
  const status = element("p", "kd-copied", panel, "", { role: "status" });
  const note = element("p", "kd-note", panel);
  const fold = editor(view, panel);
  close.onclick = () => panel.close();
  panel.onclick = (event) => { if (event.target === panel) panel.close(); };
  field.onfocus = () => field.select();
  const tell = async () => {
    field.dataset.copied = "yes";
    status.textContent = await copied(field) ? _("Copied.") : _("This browser does not let a page copy: select the address and copy it yourself.");
  };
  copy.onclick = tell;
  view.refresh = () => {
    const address = sharedAddress(view);
    if (address === field.value) return;
    field.value = address;
    code.hidden = address.length > view.data.most;
    if (!code.hidden) code.src = new URL(`qr?of=${encodeURIComponent(address)}`, document.baseURI);
    note.textContent = notes(view, address);
    status.textContent = field.dataset.copied ? _("The address has changed: copy it again.") : "";
  };
  panel.onclose = () => { clearInterval(view.following); field.value = ""; };
  return () => {
    if (!panel.open) panel.showModal();
    view.changes = {};
    fold();
    delete field.dataset.copied;
    view.refresh();
    tell();
    copy.focus();
    clearInterval(view.following);
    view.following = setInterval(view.refresh, FOLLOW_MS);
  };
}

function notes({ data }, address) {
  const here = LOOPBACK.test(new URL(address).hostname);
  return [
    here ? _("Only this machine can open this address; the page on serving a class (docs/class.md) says how to let others in.") : "",
    data.password && !here ? _("Whoever opens it is asked for the class's password first.") : "",
    address.length > data.most ? _("The address is too long for a code that a phone can read: send it instead.") : "",
  ].filter(Boolean).join(" ");
}

"""Every control of a page, discovered in its document, changed and read again.

A control is known by its role, not by the page that it stands on: one that is added later is walked too.
"""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import ElementHandle, Locator, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

CHANGES = 3
SEVERAL = 6
"""Options of a list that are looked at: a list of a thousand is like one of six."""
NO_OPTIONS = ("Select all", "No results")
"""What Streamlit adds to a list."""
REFUSED = '[data-testid="stMain"] [data-testid="stAlertContentError"]'
PATIENCE = 60_000
"""Milliseconds that a page may take to come to rest."""
IDLE_TURNS = 15
"""How often the browser is idle for 0.1 s without asking Python, until a control is taken for the browser's own. A
span of time would not do: on a busy machine a browser asks late."""
IDLE_MS = 2_000
"""How long a turn waits at most: where something moves on a busy machine, a browser is never idle."""
POLLING_MS = 50
STANDS, LATE = 3_000, 20_000
"""Milliseconds that a page at rest has to show what was chosen; and where it has to, on a busy machine."""

ASKED_ANEW = {
    "Start": {"Data set"},
    "Temperature": {"Width of the brush"},
    "Train": {"Use what is trained already", "Epoch"},
    "Compare": {"Speed"},
    "Sweep": {
        "Teacher",
        "Students",
        "Seeds",
        "Share of the training images, %",
        "Temperatures",
        "Alphas (weight of the soft loss)",
        "Epochs",
    },
}
"""By page, what is no view of it: fields of a form that starts something, a tool in the hand, the pace of a replay."""

SCRIPT = r"""
window.walk = (() => {
  // What the page and its script say to each other: when the one has asked, and the other has begun and ended.
  // A run of a part that polls, which begins between a question and its own run, is no answer to it.
  const clock = { time: 0, asked: 0, part: "", answers: false, begun: 0, ended: -1, early: false };
  const textOf = (bytes) => bytes ? new TextDecoder().decode(bytes) : "";
  const varint = (bytes, at) => {
    let value = 0, shift = 0, byte;
    do { byte = bytes[at.at++]; value += (byte & 127) * 2 ** shift; shift += 7; } while (byte & 128);
    return value;
  };
  const fields = (bytes) => { // the top fields of a protobuf message: number -> its varint, or its bytes
    const found = new Map(), at = { at: 0 };
    while (at.at < bytes.length) {
      const tag = varint(bytes, at), wire = tag & 7;
      const number = wire === 0 ? varint(bytes, at) : 0;
      const size = { 1: () => 8, 2: () => varint(bytes, at), 5: () => 4 }[wire]?.() ?? 0;
      found.set(tag >> 3, wire === 0 ? number : bytes.subarray(at.at, at.at + size));
      at.at += size;
    }
    return found;
  };
  let before = Promise.resolve(); // of two messages the shorter is read sooner, and must not overtake the other
  const heard = (data) => {
    before = before.then(async () => hear(data instanceof Blob ? await data.arrayBuffer() : data));
  };
  const hear = (data) => {
    const message = fields(new Uint8Array(data));
    if (message.has(NEW_SESSION)) {
      const run = fields(message.get(METADATA) ?? []).get(RUN);
      const part = textOf(fields(run ?? []).get(PARTS_OF_RUN));
      clock.answers = part === "" || part === clock.part;
      if (clock.answers) clock.begun = ++clock.time;
    }
    if (!message.has(SCRIPT_FINISHED) || !clock.answers) return;
    clock.ended = ++clock.time;
    clock.early = message.get(SCRIPT_FINISHED) === EARLY;
  };
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (!this.walked) { this.walked = true; this.addEventListener("message", (event) => heard(event.data)); }
    const view = ArrayBuffer.isView(data);
    const bytes = view ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : data;
    const rerun = typeof data !== "string" && fields(new Uint8Array(bytes)).get(RERUN); // messages share buffers
    if (rerun && !fields(rerun).get(OF_ITSELF)) { // a part that polls asks nothing
      clock.asked = ++clock.time;
      clock.part = textOf(fields(rerun).get(PART));
    }
    return send.call(this, data);
  };
  const settled = () => clock.begun > clock.asked && clock.ended > clock.begun && !clock.early
    && document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === "notRunning"
    && !document.querySelector('[data-stale="true"], [data-testid="stSkeleton"]');

  const heard_of = async (before) => { // whether Python is asked, once the browser has nothing else to do
    for (let turn = 0; turn < IDLE_TURNS && clock.asked <= before; turn++)
      await new Promise((done) => requestIdleCallback(() => setTimeout(done, 100), { timeout: IDLE_MS }));
    return clock.asked > before;
  };

  function* elements(root) {
    for (const element of root.querySelectorAll("*")) {
      yield element;
      if (element.shadowRoot) yield* elements(element.shadowRoot);
    }
  }
  const KINDS = [
    ["several", '[data-testid="stMultiSelect"] input[role="combobox"]'],
    ["list", 'input[role="combobox"]'],
    ["select", "select"],
    ["choice", '[role="radiogroup"]'],
    ["switch", 'input[type="checkbox"]'],
    ["slider", 'input[type="range"]'],
    ["number", 'input[type="number"]'],
    ["text", 'input[type="text"], input[type="search"], input:not([type]), textarea'],
  ];
  const NOT_OURS = '[inert], [aria-hidden="true"], [data-testid="stDataFrame"], [aria-disabled="true"]';
  const tags = (element) => [...element.closest('[data-testid="stMultiSelect"]').querySelectorAll("[data-tag]")]
    .map((tag) => tag.ariaLabel);
  const checked = (element) => element.querySelector('[aria-checked="true"], input:checked')?.closest("button, label");
  const VALUES = {
    several: tags,
    list: (element) => element.value,
    select: (element) => element.selectedOptions[0]?.innerText ?? null,
    choice: (element) => checked(element)?.innerText ?? null,
    switch: (element) => element.checked,
    slider: (element) => Number(element.value),
    number: (element) => Number(element.value),
    text: (element) => element.value,
  };
  const named = (element) => {
    const label = element.ariaLabel || element.labels?.[0]?.innerText.split("\n")[0] || element.title || element.id;
    return label.replaceAll(/\d[\d,.]*/g, "#").trim(); // "Page of 12" is the same control as "Page of 3"
  };
  const all = () => {
    const found = [], times = {};
    const roots = document.querySelectorAll('[data-testid="stMain"], [data-testid="stPopoverBody"]');
    for (const root of roots) for (const element of elements(root)) {
      const kind = KINDS.find(([, selector]) => element.matches(selector))?.[0];
      if (!kind || element.disabled || element.closest(NOT_OURS) || !element.checkVisibility()) continue;
      const name = `${kind} ${named(element)}`;
      times[name] = (times[name] ?? 0) + 1;
      found.push({ kind, label: named(element), nth: times[name], element, value: VALUES[kind](element) });
    }
    return found;
  };
  const folded = () => [...document.querySelectorAll('[data-testid="stMain"] details:not([open]) > summary')];
  const unfold = () => folded().map((summary) => summary.click()).length;
  const find = (kind, label, nth) => all().find((one) => one.kind === kind && one.label === label && one.nth === nth);
  return { clock, settled, heard_of, folded, unfold, all: () => all().map(({ element, ...rest }) => rest), find };
})();
"""


def _script() -> str:
    """SCRIPT with the numbers of the messages that it listens to, of the installed Streamlit."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ClientState_pb2 import ClientState
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg, ForwardMsgMetadata, RunIdentity

    numbers = {
        "NEW_SESSION": ForwardMsg.NEW_SESSION_FIELD_NUMBER,
        "SCRIPT_FINISHED": ForwardMsg.SCRIPT_FINISHED_FIELD_NUMBER,
        "EARLY": ForwardMsg.FINISHED_EARLY_FOR_RERUN,
        "RERUN": BackMsg.RERUN_SCRIPT_FIELD_NUMBER,
        "OF_ITSELF": ClientState.IS_AUTO_RERUN_FIELD_NUMBER,
        "PART": ClientState.FRAGMENT_ID_FIELD_NUMBER,
        "METADATA": ForwardMsg.METADATA_FIELD_NUMBER,
        "RUN": ForwardMsgMetadata.RUN_FIELD_NUMBER,
        "PARTS_OF_RUN": RunIdentity.FRAGMENT_IDS_FIELD_NUMBER,
    }
    numbers |= {"IDLE_TURNS": IDLE_TURNS, "IDLE_MS": IDLE_MS}
    return "".join(f"const {name} = {number};" for name, number in numbers.items()) + SCRIPT


class Name(NamedTuple):
    """By what a control is known again after the page has been drawn anew."""

    kind: str
    label: str
    nth: int

    def __str__(self) -> str:
        return f"{self.kind} '{self.label}'" + (f" ({self.nth})" if self.nth > 1 else "")


class Walk:
    """The walk over one page.

    failures: a sentence for each choice that did not stand, or not after a reload though the address has it.
    without_choice: those that offer but one thing, as a list of the data sets on a machine with one does.
    not_carried: label -> a sentence on each that a reload lost because it never was in the address.
    """

    def __init__(self, page: Page, address: str) -> None:
        page.add_init_script(_script())
        self.page, self.address = page, address
        self.failures: list[str] = []
        self.visited: list[Name] = []
        self.without_choice: list[Name] = []
        self.carried: set[Name] = set()
        self.not_carried: dict[str, str] = {}
        self.browsers_own: set[Name] = set()
        self.changes = 0
        self.first: dict[Name, str] = {}

    def open(self) -> None:
        """Open the page, and whatever is folded on it."""
        self.page.goto(self.address)
        self._settle()
        table = self.page.get_by_test_id("stDataFrame").first
        if table.is_visible():  # what stands below belongs to the rows that are ticked
            last_request = self._last_request()
            table.click(position={"x": 16, "y": 52})
            self._settle(last_request)
        self._unfold()

    def visit(self) -> None:
        """Change each control that was not visited, and each that a change uncovers; then reload, once."""
        while new := self._not_visited(self._present()):
            self._change(new[0])
        self._reload()
        buttons = self.page.locator('[data-testid="stPopover"] button')
        if buttons.count():  # one menu is like another
            last_request = self._last_request()
            buttons.first.click()
            self._settle(last_request)
            while new := self._not_visited(self._present()):
                self._change(new[0])

    def _change(self, name: Name) -> None:
        """Change a control at least three times; of a few things side by side, choose each."""
        self.visited.append(name)
        for turn in range(max(CHANGES, self._options(name) - 1)):
            before, address = set(self._present()), self._here()
            last_request = self._last_request()
            chosen = self._choose(name, turn)
            if chosen is None:
                self.without_choice.append(name)
                return
            self.changes += 1
            if name not in self.browsers_own and not self._settle(last_request):
                self.browsers_own.add(name)
            self._unfold()
            self._check(name, chosen, turn)
            if set(parse_qsl(urlsplit(self._here()).query)) - set(parse_qsl(urlsplit(address).query)):
                self.carried.add(name)
            uncovered = [control for control in self._not_visited(self._present()) if control not in before]
            for new in uncovered:
                if new not in self.visited and new in self._present():
                    self._change(new)
            if uncovered:
                self._check(name, chosen, turn)
                self._reload()
        if name.kind == "switch" and self.page.locator(REFUSED).count():  # a form that is refused keeps nothing
            last_request = self._last_request()
            self._choose(name, CHANGES)
            self._settle(last_request)

    def _check(self, name: Name, chosen: object, turn: int) -> None:
        if not self._stands(name, chosen, LATE):
            problem = f"chose {chosen!r}, but {self._read(name)!r} stands there"
            self.failures.append(f"{name}, change {turn + 1}: {problem}")

    def _stands(self, name: Name, chosen: object, patience: float) -> bool:
        read = "({name, chosen}) => JSON.stringify(walk.find(...name)?.value) === JSON.stringify(chosen)"
        try:
            self._wait_for(read, arg={"name": name, "chosen": chosen}, timeout=patience)
        except PlaywrightTimeoutError:
            return False
        return True

    def _read(self, name: Name) -> object:
        return self._present().get(name, "no such control")

    def _reload(self) -> None:
        """Open the address anew: what it carries stands again."""
        before = self._present()
        self.page.goto(self._here())
        self._settle()
        self._unfold()
        for name, value in before.items():
            if name not in self.visited or self._stands(name, value, LATE if name in self.carried else STANDS):
                continue
            stands = f"chose {value!r}, but after a reload {self._read(name)!r} stands there"
            if name in self.carried:
                self.failures.append(f"{name}: {stands}")
            else:
                self.not_carried[name.label] = f"{name}: {stands}"

    def _present(self) -> dict[Name, object]:
        """The controls that can be changed now, with their values; last those that may take others off the page."""
        controls = {
            Name(control["kind"], control["label"], control["nth"]): control["value"]
            for control in self.page.evaluate("walk.all()")
        }
        return dict(sorted(controls.items(), key=lambda entry: entry[0].kind == "choice"))

    def _not_visited(self, present: dict[Name, object]) -> list[Name]:
        return [name for name in present if name not in self.visited]

    def _element(self, name: Name) -> ElementHandle | None:
        return self.page.evaluate_handle("(name) => walk.find(...name)?.element ?? null", name).as_element()

    def _options(self, name: Name) -> int:
        element = self._element(name)
        return len(element.query_selector_all('[role="radio"]')) if element and name.kind == "choice" else 0

    def _choose(self, name: Name, turn: int) -> object:
        """Choose something else by mouse or keyboard, and return it as it reads at once; None where nothing else is."""
        element, value = self._element(name), self._present().get(name)
        if element is None:
            return None
        element.evaluate("(e) => e.scrollIntoView({ block: 'center' })")  # so that a list has room to open
        match name.kind:
            case "choice":
                options = {radio.inner_text(): radio for radio in element.query_selector_all('[role="radio"]')}
                chosen = self._another(name, [*options], value, turn)
                if chosen is not None:
                    options[chosen].click()
                return chosen
            case "select":
                texts = [option.inner_text() for option in element.query_selector_all("option")]
                chosen = self._another(name, texts, value, turn)
                if chosen is not None:
                    element.select_option(label=chosen)
                return chosen
            case "list" | "several":
                return self._choose_of_list(name, element, value, turn)
            case "switch":
                element.evaluate("(box) => box.click()")
                return not value
            case "slider":
                element.focus()
                self.page.keyboard.press("ArrowLeft" if self._at_its_end(element) else "ArrowRight")
            case "number":
                step = -1 if self._at_its_end(element) else 1
                least, size = (float(element.get_attribute(attribute) or 1) for attribute in ("min", "step"))
                wanted = max(float(value) + step * max(size, 0.01), least)
                element.fill(f"{wanted:.6g}")
                self.page.keyboard.press("Enter")
            case "text":
                element.fill(_other_text(str(value), turn))
                self.page.keyboard.press(
                    "Control+Enter" if element.evaluate("(e) => e.matches('textarea')") else "Enter"
                )
        return self._present().get(name)

    def _choose_of_list(self, name: Name, element: ElementHandle, value: object, turn: int) -> object:
        """Take one away of several that are chosen, else choose another of what the list offers."""
        if name.kind == "several" and (len(value) > 1 or (value and turn % 2)):
            element.evaluate(
                "(input) => input.closest('[data-testid=stMultiSelect]').querySelector('[data-tag] button').click()"
            )
            return value[1:]
        offered = self._offered(element)
        if name.kind == "several" and not offered:  # of one's own
            element.fill(_other_text("", turn))
            offered = self._offered(element)
        chosen = (
            next(reversed(offered), None) if name.kind == "several" else self._another(name, [*offered], value, turn)
        )
        if chosen is not None:
            self._click_option(element, offered[chosen])
        if chosen is None or name.kind == "several":
            self._close_list()
        self.page.locator('[role="listbox"]').wait_for(state="detached")  # while it is open, nothing else is a control
        return [*value, chosen.removeprefix("Add: ")] if chosen and name.kind == "several" else chosen

    def _click_option(self, element: ElementHandle, option: Locator) -> None:
        """Click an option of the list; a page that moved under the open list has left it outside the window."""
        for _ in range(SEVERAL):
            with contextlib.suppress(PlaywrightTimeoutError):
                option.click(timeout=STANDS)
                return
            self._close_list()
            element.evaluate("(e) => e.scrollIntoView({ block: 'center' })")
            self._offered(element)
        option.click()

    def _close_list(self) -> None:
        """Close the list; one that is drawn anew at this moment does not hear a key."""
        listed = self.page.locator('[role="listbox"]')
        while listed.count():
            self.page.keyboard.press("Escape")
            with contextlib.suppress(PlaywrightTimeoutError):
                listed.wait_for(state="detached", timeout=1_000)

    def _offered(self, element: ElementHandle) -> dict[str, Locator]:
        """The first options of a list, which this opens."""
        listed = self.page.locator('[role="listbox"] [role="option"]')
        read = "(options) => options.map((option) => [option.innerText, option.ariaDisabled === 'true'])"
        while not (texts := listed.evaluate_all(read)):  # a page that scrolls closes the list again
            element.focus()
            self.page.keyboard.press("ArrowDown")
            with contextlib.suppress(PlaywrightTimeoutError):
                listed.first.wait_for(timeout=1_000)
        return {
            text: listed.nth(place)
            for place, (text, disabled) in enumerate(texts[:SEVERAL])
            if not disabled and text not in NO_OPTIONS
        }

    def _at_its_end(self, element: ElementHandle) -> bool:
        return element.evaluate("(e) => e.max !== '' && Number(e.value) + Number(e.step || 1) > Number(e.max)")

    def _another(self, name: Name, options: list[str], value: str, turn: int) -> str | None:
        """One option after the other, from the first choice on, and never that one last: a reload would not show it."""
        first = self.first.setdefault(name, value)
        start = options.index(first) if first in options else 0
        others = [option for option in options[start:] + options[:start] if option != first]
        if not others:
            return None
        return first if value == others[0] and len(others) == 1 else others[turn % len(others)]

    def _unfold(self) -> None:
        """Open what is folded: each may bring others. By script, for a mouse would wait for each to have unfolded."""
        while self.page.evaluate("walk.unfold()"):
            with contextlib.suppress(PlaywrightTimeoutError):  # one that was drawn anew meanwhile is folded again
                self._wait_for("walk.folded().length === 0", timeout=STANDS)

    def _wait_for(self, condition: str, arg: object = None, timeout: float = PATIENCE) -> None:
        """Wait until a condition holds in the page. Playwright's own rhythm has it draw 60 frames a second."""
        self.page.wait_for_function(condition, arg=arg, timeout=timeout, polling=POLLING_MS)

    def _here(self) -> str:
        """The address that the browser shows. Playwright's page.url hears of it later, on a busy machine much later."""
        return self.page.evaluate("location.href")

    def _last_request(self) -> int:
        return self.page.evaluate("walk.clock.asked")

    def _settle(self, last_request: int | None = None) -> bool:
        """Wait until the script has run for what was asked after `last_request`, and the page shows what came of it.

        Returns False where nothing was asked: what changed is the browser's own.
        """
        if last_request is not None and not self.page.evaluate("(before) => walk.heard_of(before)", last_request):
            return False
        self._wait_for("walk.settled()", timeout=PATIENCE)
        return True


def _other_text(text: str, turn: int) -> str:
    """Another text of the same sort: numbers stay numbers, as a field of hidden units wants them."""
    digits = [place for place, letter in enumerate(text) if letter.isdigit()]
    if not digits:
        return ("first", "second", "third")[turn % CHANGES]
    place = digits[-1]
    return f"{text[:place]}{int(text[place]) % 9 + 1}{text[place + 1 :]}"


def pages_of(page: Page, address: str) -> Iterator[tuple[str, str]]:
    """Title and address of each page that the navigation leads to, those in its menus too."""
    page.goto(address)
    page.get_by_test_id("stTopNavLink").first.wait_for()
    yield from _titles_and_addresses(page.get_by_test_id("stTopNavLink"))
    for menu in page.get_by_test_id("stTopNavSection").all():
        menu.click()
        links = page.get_by_test_id("stTopNavDropdownLink")
        links.first.wait_for()
        yield from _titles_and_addresses(links)
        page.keyboard.press("Escape")
        links.first.wait_for(state="detached")


def _titles_and_addresses(links: Locator) -> list[tuple[str, str]]:
    return [(link.locator("p").inner_text(), link.evaluate("(a) => a.href")) for link in links.all()]


LEAVING = """() => {
  const found = [], prose = "[data-testid=stMarkdownContainer]";
  const control = "button, [role=button], [data-testid=stLinkButton]";
  const leaves = (address) => /^https?:/.test(address) && new URL(address).origin !== location.origin;
  const look = (root) => {
    for (const one of root.querySelectorAll("*")) {
      if (one.shadowRoot) look(one.shadowRoot);
      const address = String(one.href?.baseVal ?? one.href ?? one.action ?? one.src ?? "");
      const reference = one.matches("a") && one.closest(prose) && !one.closest(control);
      if (one.matches("a, form, iframe") && leaves(address) && !reference) found.push(address);
      if (one.matches(".modebar-btn")) found.push("a button of plotly's: " + one.dataset.title);
    }
  };
  look(document);
  return found;
}"""


def leaving(page):
    """The page's controls that lead off this machine, or could: a link in its prose is a reference, not a control."""
    return page.evaluate(LEAVING)


def assert_what_is_chosen_stands(page: Page, address: str, title: str) -> None:
    """Walk the page of this title, and fail with a sentence on each choice that was lost."""
    walk = Walk(page, dict(pages_of(page, address))[title])
    walk.open()
    walk.visit()
    asked_anew = ASKED_ANEW.get(title, ())
    lost = [
        f"{sentence}: not in the address" for label, sentence in walk.not_carried.items() if label not in asked_anew
    ]
    assert walk.changes or walk.visited == walk.without_choice
    assert not walk.failures + lost, "\n".join([f"{title}, {walk.changes} changes:", *walk.failures, *lost])

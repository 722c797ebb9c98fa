// What Streamlit's navigation lacks. On a phone its drawer lies over the page: it closes once a page was chosen, and its
// button says what it opens. A list with sections in it is none to a screen reader. The menu that holds the page is marked
// as its link is. MENUS: their pages; MENU_OF_PAGES: its name in each language; CONTROLS: what Streamlit's controls say,
// by language. The server writes them before this (routes.py). The document is in the language of the address, else the
// browser's, as language.py settles.
document.addEventListener("click", ({ target }) => {
  if (innerWidth > 768 || !target.closest('[data-testid="stSidebarNavLink"]')) return;
  setTimeout(() => document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click());
});
function language() {
  const wished = [new URLSearchParams(location.search).get("lang"), navigator.language.split("-")[0].toLowerCase()];
  return wished.find((code) => Object.hasOwn(MENU_OF_PAGES, code)) ?? "en";
}
const MEND = [
  ['[data-testid="stExpandSidebarButton"]', "aria-label", () => MENU_OF_PAGES[document.documentElement.lang]],
  ['[data-testid="stSidebarNav"] :is(ul, li)', "role", () => "presentation"],
  ['[data-testid="stMain"] :is([data-testid="stCode"] pre, .katex-display)', "tabindex", () => "0"],  // what is too wide scrolls
];
function markMenu() {
  const page = location.pathname.split("/").at(-1);
  for (const button of document.querySelectorAll('[data-testid="stTopNavSection"]')) {
    const holds = Object.entries(MENUS).some(([title, pages]) => button.textContent.startsWith(title) && pages.includes(page));
    if (button.ariaCurrent !== String(holds)) button.ariaCurrent = holds;
  }
}
const SPEAKING = ":is([aria-label], [title], [placeholder]):not([data-tag], [data-tag] [title])";
const WRITTEN = '[role="menuitem"], [role="listbox"], ' + ["stTopNavSection", "stSkipToContent", "stFileUploader", "InputInstructions",
  "stTooltipContent"].map((part) => `[data-testid="${part}"]`).join();
const known = new Map();  // what Streamlit's controls were seen to say -> in the language of the document
function inLanguage(text) {
  if (known.has(text)) return known.get(text);
  let translated = text;
  for (const [english, words] of Object.entries(CONTROLS[document.documentElement.lang])) {
    const pattern = english.replace(/[.?()]/g, "\\$&").replace(/\{(\w+)\}/g, "(?<$1>.+)");
    const match = text.trim().match(`^${pattern}$`);
    if (match) translated = words.replace(/\{(\w+)\}/g, (_place, name) => match.groups[name]);
  }
  known.set(text, translated);
  return translated;
}
function sayControls() {
  if (!CONTROLS[document.documentElement.lang]) return;
  for (const element of document.querySelectorAll(SPEAKING)) {
    for (const attribute of ["aria-label", "title", "placeholder"]) {
      const text = element.getAttribute(attribute);
      if (text && inLanguage(text) !== text) element.setAttribute(attribute, inLanguage(text));
    }
  }
  for (const element of document.querySelectorAll(WRITTEN)) {
    const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      if (inLanguage(text.data) !== text.data) text.data = inLanguage(text.data);
    }
  }
}
new MutationObserver(() => {
  if (document.documentElement.lang !== language()) document.documentElement.lang = language();
  markMenu();
  sayControls();
  for (const [selector, attribute, say] of MEND) {
    const value = say();
    for (const element of document.querySelectorAll(`${selector}:not([${attribute}="${value}"])`)) element.setAttribute(attribute, value);
  }
}).observe(document.body, { childList: true, subtree: true });

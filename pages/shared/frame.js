// What Streamlit's navigation lacks. On a phone its drawer lies over the page: it closes once a page was chosen, and its
// button says what it opens. A list with sections in it is none to a screen reader. The menu that holds the page is marked
// as its link is. MENUS: their pages; MENU_OF_PAGES: its name in each language. The server writes both before this
// (routes.py). The document is in the language of the address, else the browser's, as language.py settles.
document.addEventListener("click", ({ target }) => {
  if (innerWidth > 768 || !target.closest('[data-testid="stSidebarNavLink"]')) return;
  setTimeout(() => document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click());
});
function language() {
  const wished = [new URLSearchParams(location.search).get("lang"), navigator.language.slice(0, 2).toLowerCase()];
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
new MutationObserver(() => {
  if (document.documentElement.lang !== language()) document.documentElement.lang = language();
  markMenu();
  for (const [selector, attribute, say] of MEND) {
    const value = say();
    for (const element of document.querySelectorAll(`${selector}:not([${attribute}="${value}"])`)) element.setAttribute(attribute, value);
  }
}).observe(document.body, { childList: true, subtree: true });

// What Streamlit's navigation lacks. On a phone its drawer lies over the page: it closes once a page was chosen, and its
// button says what it opens. A list with sections in it is none to a screen reader. The menu that holds the page is marked
// as its link is. MENUS: their pages, which the server writes before this (routes.py).
document.addEventListener("click", ({ target }) => {
  if (innerWidth > 768 || !target.closest('[data-testid="stSidebarNavLink"]')) return;
  setTimeout(() => document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click());
});
const MEND = [
  ['[data-testid="stExpandSidebarButton"]', "aria-label", "Menu of pages"],
  ['[data-testid="stSidebarNav"] :is(ul, li)', "role", "presentation"],
  ['[data-testid="stMain"] :is([data-testid="stCode"] pre, .katex-display)', "tabindex", "0"],  // what is too wide scrolls
];
function markMenu() {
  const page = location.pathname.split("/").at(-1);
  for (const button of document.querySelectorAll('[data-testid="stTopNavSection"]')) {
    const holds = Object.entries(MENUS).some(([title, pages]) => button.textContent.startsWith(title) && pages.includes(page));
    if (button.ariaCurrent !== String(holds)) button.ariaCurrent = holds;
  }
}
new MutationObserver(() => {
  markMenu();
  for (const [selector, attribute, value] of MEND) {
    for (const element of document.querySelectorAll(`${selector}:not([${attribute}="${value}"])`)) element.setAttribute(attribute, value);
  }
}).observe(document.body, { childList: true, subtree: true });

// What Streamlit's navigation lacks. On a phone its drawer lies over the page: it closes once a page was chosen, and its
// button says what it opens. A list with sections in it is none to a screen reader.
document.addEventListener("click", ({ target }) => {
  if (innerWidth > 768 || !target.closest('[data-testid="stSidebarNavLink"]')) return;
  setTimeout(() => document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click());
});
const MEND = [
  ['[data-testid="stExpandSidebarButton"]', "aria-label", "Menu of pages"],
  ['[data-testid="stSidebarNav"] :is(ul, li)', "role", "presentation"],
  ['[data-testid="stMain"] :is([data-testid="stCode"] pre, .katex-display)', "tabindex", "0"],  // what is too wide scrolls
];
new MutationObserver(() => {
  for (const [selector, attribute, value] of MEND) {
    for (const element of document.querySelectorAll(`${selector}:not([${attribute}="${value}"])`)) element.setAttribute(attribute, value);
  }
}).observe(document.body, { childList: true, subtree: true });

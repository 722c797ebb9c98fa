"""How far a page moves under its reader: scripts for a browser, for tests and tools."""

SHIFTS = """window.shifted = 0; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });"""
"""Adds up, from the page's first picture on, what nobody's click moved (web.dev/cls: below 0.1 is good)."""
SETTLED = """() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
  && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')
  && [...document.querySelectorAll('.kd-chart')].every((box) => !box.offsetParent || box.querySelector('svg'))"""
"""Whether all of a page has arrived."""

const REFUSED = '[data-testid="stFileChips"] [role="alert"], [data-testid="stTooltipErrorContent"]';
const SHOWN = {
  position: "static", clip: "auto", width: "auto", height: "auto", margin: "0", flexBasis: "100%", whiteSpace: "normal",
};

// Streamlit shows an icon for an upload that was refused, and says its status to who cannot see that or points at it.
export default function ({ data }) {
  const say = () => {
    for (const place of document.querySelectorAll(REFUSED)) {
      const status = /status code (\d+)/.exec(place.textContent)?.[1];
      if (!data[status]) continue;
      place.textContent = data[status];
      const chip = place.closest('[data-testid="stFileChip"]');
      if (!chip) continue;
      Object.assign(place.style, SHOWN);
      Object.assign(chip.style, { flexWrap: "wrap", height: "auto" });
    }
  };
  const watching = new MutationObserver(say);
  watching.observe(document.body, { childList: true, subtree: true });
  return () => watching.disconnect();
}

// Puts the page together.

readAddress();
applyTheme();
buildToolbar();
buildStrip();
buildTable();
buildExplorer();
buildDensity();
buildSurface();
buildCurves();

document.body.addEventListener("click", (event) => {
  const button = event.target.closest("button.link[data-row]");
  if (button) choose(Number(button.dataset.row));
});
window.addEventListener("hashchange", readAddress);
systemDark.addEventListener("change", () => { if (!state.theme) tell(["theme"]); });

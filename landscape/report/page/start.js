// Puts the page together.

readAddress();
applyTheme();
buildToolbar();
buildStrip();
buildDetail();
buildTable();
buildExplorer();
buildDensity();
buildSurface();
buildMatrix();
buildLine();
buildCurves();
spreadLonePanels();

document.body.addEventListener("click", (event) => {
  const button = event.target.closest("button.link[data-row]");
  if (button) choose(Number(button.dataset.row));
});
window.addEventListener("hashchange", readAddress);
window.addEventListener("beforeprint", () => { printing = true; applyTheme(); tell(["theme"]); drawEverything(); });
window.addEventListener("afterprint", () => { printing = false; applyTheme(); tell(["theme"]); });
systemDark.addEventListener("change", () => { if (!state.theme) tell(["theme"]); });

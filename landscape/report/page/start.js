// Puts the page together.

(({
  curves: { buildCurves },
  spectrum: { buildSpectrum },
  detail: { buildDetail },
  explorer: { buildExplorer },
  line: { buildLine },
  matrix: { buildMatrix },
  plot_panel: { drawEverything, spreadLonePanels },
  state: { choose, readAddress, state, tell },
  surface: { buildSurface },
  table: { buildTable },
  theme: { applyTheme, setPrinting, systemDark },
  toolbar: { buildToolbar },
  track: { buildTrack },
  verdict_strip: { buildStrip },
}) => {
  readAddress();
  applyTheme();
  buildToolbar();
  buildStrip();
  buildDetail();
  buildTable();
  buildExplorer();
  buildSpectrum();
  buildSurface();
  buildMatrix();
  buildLine();
  buildCurves();
  buildTrack();
  spreadLonePanels();

  document.body.addEventListener("click", (event) => {
    const button = event.target.closest("button.link[data-row]");
    if (button) choose(Number(button.dataset.row));
  });
  window.addEventListener("hashchange", readAddress);
  window.addEventListener("beforeprint", () => {
    setPrinting(true);
    tell(["theme"]);
    drawEverything();
  });
  window.addEventListener("afterprint", () => {
    setPrinting(false);
    tell(["theme"]);
  });
  systemDark.addEventListener("change", () => {
    if (!state.theme) tell(["theme"]);
  });
})(landscape);

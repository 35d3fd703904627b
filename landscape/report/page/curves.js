// Training curves of the chosen subset: train, validation and test, every run in its color.

landscape.curves = (({
  controls: { controlsOf, segments },
  format: { cut, figure, percent, shownName },
  lookup: { shownRuns },
  page_data: { page },
  plot_panel: { chart },
  scales: { LINEAR, LOG, padded, ticksOf },
  state: { state },
  subsets: { rows },
  theme: { SYMBOLS, axis, baseLayout, runColor },
  unpack: { unpack },
}) => {
  const SPLIT_DASH = { train: "dot", validation: "dash", test: "solid" };

  function buildCurves() {
    if (!page.curves.some(Boolean)) {
      document.getElementById("curves").hidden = true;
      return;
    }
    controlsOf("curves").append(
      segments("Quantity", "curve", [
        ["accuracy", "Accuracy"],
        ["loss", "Loss"],
      ]),
    );
    chart("curves", ["row", "hidden", "curve"], drawCurves, curveNumbers);
  }

  function curvesOf(row) {
    return shownRuns().flatMap((run) =>
      Object.entries(page.curves[run] ?? {}).flatMap(([split, kinds]) => {
        const found = kinds[state.curve]?.[row];
        return found ? [{ run, split, x: unpack(found.x), y: unpack(found.y) }] : [];
      }),
    );
  }

  function drawCurves(width) {
    const lines = curvesOf(state.row);
    if (!lines.length)
      return { empty: `No ${state.curve} of ${cut(rows[state.row].title, 60)} was recorded in training.` };
    const percentages = state.curve === "accuracy";
    const scale = percentages ? LINEAR : LOG;
    const heights = lines.map(({ y }) => Array.from(y, scale.forward));
    const [low, high] = padded(heights.flat().filter(Number.isFinite));
    const data = lines.map(({ run, split, x, y }, i) => ({
      type: "scatter",
      mode: y.length > 1 ? "lines+markers" : "markers",
      x: Array.from(x),
      y: heights[i],
      line: { color: runColor(run), width: 1.8, dash: SPLIT_DASH[split] },
      marker: { color: runColor(run), symbol: SYMBOLS[run % 8], size: y.length > 1 ? 4 : 8 },
      hoverinfo: "text",
      name: `${shownName(page.runs[run])}, ${split}`,
      text: Array.from(
        x,
        (epoch, j) =>
          `<b>${shownName(page.runs[run])}</b> · ${split}<br>epoch ${epoch}: ${percentages ? percent(y[j]) : figure(y[j])}`,
      ),
    }));
    const layout = baseLayout({
      width,
      height: Math.max(300, Math.min(460, width * 0.3)) + (width < 500 ? 20 * lines.length : 0),
      xaxis: axis({ title: "epoch" }),
      margin: { l: 60, r: 14, t: width < 500 ? 20 + 20 * lines.length : 40, b: 48 },
      showlegend: true,
      yaxis: axis({
        title: state.curve,
        range: [low, high],
        ...ticksOf(scale, low, high),
        ...(percentages ? { tickformat: ".0%" } : {}),
      }),
    });
    const splits = [...new Set(lines.map((line) => line.split))].map(
      (split) => `${split} ${{ dot: "dotted", dash: "dashed", solid: "solid" }[SPLIT_DASH[split]]}`,
    );
    return {
      data,
      layout,
      caption: `${state.curve === "accuracy" ? "Accuracy" : "Loss"} of “${cut(rows[state.row].title, 40)}” by epoch: ${splits.join(", ")}; marks are the epochs looked at.`,
      label: `Training ${state.curve} of ${rows[state.row].title}`,
    };
  }

  function curveNumbers() {
    return [
      ["subset", "run", "split", "epoch", state.curve],
      ...curvesOf(state.row).flatMap(({ run, split, x, y }) =>
        Array.from(x, (epoch, i) => [rows[state.row].name, page.runs[run], split, epoch, y[i]]),
      ),
    ];
  }

  return { buildCurves };
})(landscape);

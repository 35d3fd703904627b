// The spectral density of the chosen subset in every run, and of the pinned subset beside it.

landscape.density = (({
  controls: { controlsOf, segments },
  format: { cut, figure, shownName },
  lookup: { comparedRows, currentView, shownRuns, numberOf },
  page_data: { page },
  plot_panel: { chart },
  scales: { LINEAR, LOG, kneeOf, padded, signed, ticksOf },
  state: { state },
  subsets: { rows },
  theme: { axis, baseLayout, runColor, withAlpha },
  unpack: { unpack },
}) => {
  function buildDensity() {
    controlsOf("density").append(
      segments("Eigenvalue axis", "spectrum", [
        ["linear", "Linear"],
        ["signed", "Signed log"],
      ]),
    );
    chart("density", ["view", "row", "pin", "hidden", "spectrum"], drawDensity, densityNumbers);
  }

  // {x, y, se} of one run and row, or null.
  function densityOf(run, row) {
    const found = currentView()?.densities[run];
    const at = found ? found.rows.indexOf(row) : -1;
    if (at < 0) return null;
    const y = unpack(found.y[at]);
    const [lo, hi] = [unpack(found.lo)[at], unpack(found.hi)[at]];
    return { x: Float64Array.from(y, (_, i) => lo + ((hi - lo) * i) / (y.length - 1)), y, se: unpack(found.se[at]) };
  }

  function drawDensity(width) {
    const lines = comparedRows()
      .flatMap((row) => shownRuns().map((run) => ({ row, run, found: densityOf(run, row) })))
      .filter((line) => line.found);
    if (!lines.length) return { empty: `No spectral density of ${cut(rows[state.row].title, 60)} is on this page.` };
    const ends = lines.flatMap(({ found }) => [found.x[0], found.x[found.x.length - 1]]);
    const scale = state.spectrum === "signed" ? signed(kneeOf(ends) / 10) : LINEAR;
    const most = Math.max(...lines.map(({ found }) => found.y.reduce((p, q) => Math.max(p, q), 0)));
    const floor = most * 1e-8;
    const traces = [];
    for (const { row, run, found } of lines) {
      const x = Array.from(found.x, scale.forward);
      const color = runColor(run);
      const above = (y) => Math.log10(Math.max(y, floor));
      if (found.se) traces.push(bandTrace(x, found, color, above));
      traces.push({
        type: "scatter",
        mode: "lines",
        x,
        y: Array.from(found.y, (y) => (y > floor ? Math.log10(y) : null)),
        name:
          comparedRows().length > 1
            ? `${shownName(page.runs[run], 20)} · ${shownName(rows[row].title, 18)}`
            : shownName(page.runs[run]),
        line: { color: color, width: row === state.row ? 2.2 : 1.4, dash: row === state.row ? "solid" : "dot" },
        hoverinfo: "text",
        text: Array.from(
          found.x,
          (value, i) =>
            `<b>${shownName(page.runs[run])}</b> · ${shownName(rows[row].title)}<br>density ${figure(found.y[i])} at λ = ${figure(value)}`,
        ),
      });
    }
    const [low, high] = padded(ends.map(scale.forward));
    const heights = [Math.log10(floor) - 0.3, Math.log10(most) + 0.5];
    const layout = baseLayout({
      width,
      height: Math.max(360, Math.min(620, width * 0.62)),
      margin: { l: 60, r: 14, t: 58, b: 50 },
      showlegend: true,
      xaxis: axis({ title: "eigenvalue λ", range: [low, high], ...ticksOf(scale, low, high) }),
      yaxis: axis({ title: "spectral density", range: heights, ...ticksOf(LOG, ...heights) }),
      shapes: rugOf(lines, scale),
    });
    const names = comparedRows()
      .map((row) => `“${cut(rows[row].title, 40)}”`)
      .join(" (solid) and ");
    return {
      data: traces,
      layout,
      label: `Spectral density of ${names}`,
      caption: `Hessian spectrum of ${names}${comparedRows().length > 1 ? " (dotted)" : ""}, by stochastic Lanczos quadrature${lines.some((line) => line.found.se) ? "; bands: ± one standard error over the probes" : ""}. Ticks at the foot: λmin and λ₁.`,
    };
  }

  function bandTrace(x, { y, se }, color, above) {
    const off = (i) => (Number.isFinite(se[i]) ? se[i] : 0); // unknown: no band there
    const upper = Array.from(y, (value, i) => above(value + off(i)));
    const lower = Array.from(y, (value, i) => above(value - off(i)));
    return {
      type: "scatter",
      mode: "lines",
      x: [...x, ...x.slice().reverse()],
      y: [...upper, ...lower.reverse()],
      fill: "toself",
      fillcolor: withAlpha(color, 0.18),
      line: { width: 0 },
      hoverinfo: "skip",
      showlegend: false,
    };
  }

  function rugOf(lines, scale) {
    return lines.flatMap(({ row, run }) =>
      ["bottom", "top"]
        .map((key) => scale.forward(numberOf(key, run, row)))
        .filter((x) => x !== null && Number.isFinite(x))
        .map((x) => ({
          type: "line",
          xref: "x",
          yref: "paper",
          x0: x,
          x1: x,
          y0: 0,
          y1: row === state.row ? 0.06 : 0.035,
          line: { color: runColor(run), width: 2.5 },
        })),
    );
  }

  function densityNumbers() {
    const lines = comparedRows()
      .flatMap((row) => shownRuns().map((run) => ({ row, run, found: densityOf(run, row) })))
      .filter((line) => line.found);
    return [
      ["subset", "run", "split", "eigenvalue", "density", "standard_error"],
      ...lines.flatMap(({ row, run, found }) =>
        Array.from(found.x, (x, i) => [
          rows[row].name,
          page.runs[run],
          state.view,
          x,
          found.y[i],
          found.se ? found.se[i] : NaN,
        ]),
      ),
    ];
  }

  return { buildDensity };
})(landscape);

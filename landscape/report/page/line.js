// Loss or accuracy of the chosen subset along straight lines, such as those between two runs.

landscape.line = (({
  controls: { controlsOf, segments, select, tick },
  format: { cut, figure, percent, plotlyText, shownName },
  lookup: { comparedRows, shownRuns },
  page_data: { page },
  plot_panel: { chart },
  scales: { LINEAR, LOG, padded, ticksOf },
  state: { allow, state },
  subsets: { rows },
  theme: { axis, baseLayout, ink, rem, runColor },
  unpack: { unpack },
}) => {
  function buildLine() {
    const names = [...new Set(page.lines.flat().map((line) => line.name))];
    if (!names.length) {
      document.getElementById("line").hidden = true;
      return;
    }
    allow("line", names);
    if (names.length > 1) controlsOf("line").append(select("Line", "line", [["", names.map((name) => [name, name])]]));
    controlsOf("line").append(
      segments("Quantity", "along", [
        ["loss", "Loss"],
        ["accuracy", "Accuracy"],
      ]),
      tick("Log", "log"),
    );
    chart("line", ["row", "pin", "hidden", "line", "along", "log"], drawLine, lineNumbers);
  }

  function foundLines() {
    return comparedRows().flatMap((row) =>
      shownRuns().flatMap((run) => {
        const line = page.lines[run].find((candidate) => candidate.name === state.line);
        const at = line ? line.rows.indexOf(row) : -1;
        return at >= 0 && line[state.along]
          ? [{ row, run, line, at, a: unpack(line.a), values: unpack(line[state.along][at]) }]
          : [];
      }),
    );
  }

  function drawLine(width) {
    const found = foundLines();
    if (!found.length)
      return { empty: `No ${state.along} of “${cut(rows[state.row].title, 60)}” along this line is on this page.` };
    const share = state.along === "accuracy";
    const scale = !share && state.log ? LOG : LINEAR;
    const heights = found.map(({ values }) =>
      Array.from(values, (value) => (Number.isFinite(value) ? scale.forward(value) : null)),
    );
    const [low, high] = padded(heights.flat().filter((z) => z !== null));
    return {
      data: found.map(({ row, run, a, values }, i) => ({
        type: "scatter",
        mode: "lines+markers",
        x: Array.from(a),
        y: heights[i],
        name: `${shownName(page.runs[run], 20)}${comparedRows().length > 1 ? ` · ${shownName(rows[row].title, 18)}` : ""}`,
        line: { color: runColor(run), width: 2, dash: row === state.row ? "solid" : "dot" },
        marker: { size: 4, color: runColor(run) },
        hoverinfo: "text",
        text: Array.from(values, (value, j) => `at ${figure(a[j])}: ${share ? percent(value) : figure(value)}`),
      })),
      layout: baseLayout({
        width,
        height: Math.max(360, Math.min(620, width * 0.6)),
        margin: { l: 60, r: 14, t: 58, b: 50 },
        showlegend: true,
        ...marksOf(found[0].line),
        xaxis: axis({ title: plotlyText(found[0].line.title) }),
        yaxis: axis({
          title: state.along,
          range: [low, high],
          ...ticksOf(scale, low, high),
          tickformat: share ? ".0%" : undefined,
        }),
      }),
      caption: `${share ? "Accuracy" : "Loss"} of “${cut(rows[state.row].title, 40)}” along “${state.line}”, BatchNorm ${found[0].line.batchNorm}.${share ? "" : barriersOf(found)}`,
      label: `${state.along} of ${rows[state.row].title} along a line`,
    };
  }

  // The barrier that the file states: how far the loss rises above the straight line between the line's two ends.
  function barriersOf(found) {
    const told = found
      .map(({ run, row, line, at }) => [
        unpack(line.barrier)?.[at],
        `${page.runs[run]}${found.length > 1 ? ` (${cut(rows[row].title, 24)})` : ""}`,
      ])
      .filter(([height]) => Number.isFinite(height))
      .map(([height, name]) => `${name} ${figure(height)}`);
    return told.length
      ? ` Barrier, the largest rise above the straight line between the losses of both ends (Entezari et al., ICLR 2022): ${told.join("; ")}.`
      : "";
  }

  // The networks on the line, named where they lie.
  function marksOf({ path }) {
    if (!path) return {};
    const places = unpack(path.a);
    return {
      shapes: Array.from(places, (x) => ({
        type: "line",
        xref: "x",
        yref: "paper",
        x0: x,
        x1: x,
        y0: 0,
        y1: 1,
        line: { color: ink("faint"), width: 1, dash: "dot" },
      })),
      annotations: Array.from(places, (x, i) => ({
        xref: "x",
        yref: "paper",
        x,
        y: 1,
        yanchor: "bottom",
        showarrow: false,
        text: shownName(path.names[i], 18),
        font: { size: 0.74 * rem(), color: ink("soft") },
      })),
    };
  }

  function lineNumbers() {
    return [
      ["subset", "run", "line", "position", state.along],
      ...foundLines().flatMap(({ row, run, line, a, values }) =>
        Array.from(values, (value, i) => [rows[row].name, page.runs[run], line.name, a[i], value]),
      ),
    ];
  }

  return { buildLine };
})(landscape);

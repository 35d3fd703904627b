// Classes against classes, against the whole Hessian's eigenvalues, against layers: one matrix at a time, a column a class.

landscape.matrix = (({
  controls: { controlsOf, select },
  format: { figure, percent, shownName },
  lookup: { currentView },
  page_data: { page },
  plot_panel: { chart },
  scales: { LINEAR, LOG, kneeOf, signed, ticksOf },
  state: { allow, choose, state },
  subsets: { rows },
  theme: { axis, baseLayout, diverging, ink, rem, sequential },
  unpack: { unpack },
}) => {
  // `told(line, column, value)` is a cell in words; without `scale` values are drawn as they are.
  const MATRICES = {
    cross: {
      title: "Along directions",
      x: "curvature of class …",
      y: "… along the direction of class",
      diverges: true,
      scale: (values) => signed(kneeOf(values)),
      told: (line, column, value) => `${column} along the sharpest<br>direction of ${line}: ${figure(value)}`,
      words:
        "A column shows one class, a line one direction: v_iᵀ H_c v_i with v_i the sharpest direction of class i. Off-diagonal orange means that classes share sharp directions; blue that one class falls where another rises",
    },
    overlap: {
      title: "Overlap of directions",
      x: "class",
      y: "class",
      range: [0, 1],
      told: (line, column, value) => `sharp directions of ${line}<br>and ${column} overlap by ${figure(value)}`,
      words:
        "How far the top eigenspaces of two classes coincide: 1 where they are the same space, 0 where they are orthogonal, as two random ones nearly are",
    },
    share: {
      title: "Share of the whole",
      x: "class",
      y: "eigenvalue of the whole Hessian",
      diverges: true,
      percent: true,
      told: (line, column, value) => `${column} makes ${percent(value)}<br>of ${line} of the whole Hessian`,
      words:
        "How much each class’s samples contribute to the top eigenvalues of the Hessian of all samples; a line sums to 100 %, and a class that falls along the direction counts below 0",
    },
    layer_top: {
      title: "Layers",
      x: "class",
      y: "layer",
      scale: (values) => (values.every((value) => !(value <= 0)) ? LOG : signed(kneeOf(values))),
      told: (line, column, value) => `${column}, ${line}:<br>λ₁ of its block ${figure(value)}`,
      words: "The top eigenvalue of each layer’s own block of the class’s Hessian: which layers hold its sharpness",
    },
  };

  function buildMatrix() {
    const found = page.views.flatMap((view) => view.matrices);
    const known = Object.keys(MATRICES).filter((key) => found.some((run) => run[key]));
    if (!known.length) {
      document.getElementById("matrix").hidden = true;
      return;
    }
    allow("matrix", known);
    const runs = page.runs
      .map((_, run) => run)
      .filter((run) => page.views.some((view) => Object.keys(view.matrices[run]).length));
    allow("matrixRun", runs.map(String));
    const controls = controlsOf("matrix");
    if (known.length > 1)
      controls.append(select("Show", "matrix", [["", known.map((key) => [key, MATRICES[key].title])]]));
    if (runs.length > 1)
      controls.append(select("Run", "matrixRun", [["", runs.map((run) => [String(run), page.runs[run]])]]));
    const panel = chart("matrix", ["view", "row", "matrix", "matrixRun"], drawMatrix, matrixNumbers);
    panel.bind = (plot) => plot.on("plotly_click", ({ points }) => choose(matrixOf().rows[points[0].pointIndex[1]]));
  }

  const matrixOf = () => currentView()?.matrices[Number(state.matrixRun)]?.[state.matrix];
  const lineNames = (found) => found.names ?? found.rows.map((row) => rows[row].title);

  function drawMatrix(width) {
    const [found, kind, run] = [matrixOf(), MATRICES[state.matrix], page.runs[Number(state.matrixRun)]];
    if (!found)
      return { empty: `“${kind?.title ?? state.matrix}” of ${run} was not measured on the ${state.view} split.` };
    const values = Array.from(unpack(found.v));
    const all = currentView()
      .matrices.flatMap((matrices) => (matrices[state.matrix] ? Array.from(unpack(matrices[state.matrix].v)) : []))
      .filter(Number.isFinite);
    const names = lineNames(found);
    const [lines, columns] = [names.length, found.rows.length];
    const scale = kind.scale ? kind.scale(all) : LINEAR;
    const heights = values.map((value) => {
      const z = scale.forward(value);
      return Number.isFinite(z) ? z : null;
    });
    const range = matrixRange(
      kind,
      all.map(scale.forward).filter((z) => z !== null),
    ); // of all runs, so that their colors compare
    const grid = (from) => names.map((_, i) => found.rows.map((_row, j) => from(i * columns + j, i, j)));
    const told = (at, i, j) => kind.told(shownName(names[i]), shownName(rows[found.rows[j]].title), values[at]);
    const chosen = found.rows.indexOf(state.row);
    const ticks = (shown) =>
      shown.length <= 40
        ? { tickvals: shown.map((_, i) => i), ticktext: shown.map((name) => shownName(name, 16)) }
        : { showticklabels: false };
    const ends = (size) => [-0.5, size - 0.5];
    const frame = (more) => ({ type: "rect", line: { color: ink("ink"), width: 1.5 }, ...more });
    const square = !found.names;
    const gap = Math.max(lines, columns) <= 40 ? 1 : 0;
    return {
      data: [
        {
          type: "heatmap",
          x: found.rows.map((_, j) => j),
          y: names.map((_, i) => i),
          z: grid((at) => heights[at]),
          text: grid(told),
          hoverinfo: "text",
          hoverongaps: false,
          colorscale: kind.diverges ? diverging() : sequential(),
          zmin: range[0],
          zmax: range[1],
          xgap: gap,
          ygap: gap,
          colorbar: {
            thickness: 12,
            outlinewidth: 0,
            tickfont: { size: 0.74 * rem(), color: ink("soft") },
            ...ticksOf(scale, ...range),
            ...(kind.percent ? { tickformat: ".0%" } : {}),
          },
        },
      ],
      layout: baseLayout({
        width,
        height: square ? Math.max(380, Math.min(680, width * 0.86)) : Math.max(300, Math.min(680, 170 + 34 * lines)),
        margin: { l: 90, r: 70, t: 20, b: 90 },
        xaxis: axis({
          title: kind.x,
          range: ends(columns),
          showgrid: false,
          constrain: "domain",
          tickangle: -45,
          ...ticks(found.rows.map((row) => rows[row].title)),
        }),
        yaxis: axis({
          title: kind.y,
          range: ends(lines).reverse(),
          showgrid: false,
          constrain: "domain",
          ...(square ? { scaleanchor: "x" } : {}),
          ...ticks(names),
        }),
        shapes:
          chosen < 0
            ? []
            : [
                frame({ x0: chosen - 0.5, x1: chosen + 0.5, y0: -0.5, y1: lines - 0.5 }),
                ...(square ? [frame({ x0: -0.5, x1: columns - 0.5, y0: chosen - 0.5, y1: chosen + 0.5 })] : []),
              ],
      }),
      caption: `${kind.words}. This is ${run}${page.runs.length > 1 ? "; colors mean the same for every run" : ""}.`,
      label: `${kind.title} of ${columns} classes for ${run}`,
    };
  }

  function matrixRange(kind, heights) {
    if (kind.range) return kind.range;
    const low = heights.reduce((p, q) => Math.min(p, q), Infinity);
    const high = heights.reduce((p, q) => Math.max(p, q), -Infinity);
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    if (kind.diverges) return [-most, most];
    return high > low ? [low, high] : [low - 0.5, high + 0.5];
  }

  function matrixNumbers() {
    const found = matrixOf();
    const head = ["matrix", "run", "split", "line", "class", "value"];
    if (!found) return [head];
    const names = found.names ?? found.rows.map((row) => rows[row].name);
    const columns = found.rows.length;
    return [
      head,
      ...Array.from(unpack(found.v), (value, at) => [
        state.matrix,
        page.runs[Number(state.matrixRun)],
        state.view,
        names[Math.floor(at / columns)],
        rows[found.rows[at % columns]].name,
        value,
      ]),
    ];
  }

  return { buildMatrix };
})(landscape);

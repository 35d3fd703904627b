// Loss surfaces of the chosen (and the pinned) subset, every run side by side on one color scale, flat or in 3-D.

landscape.surface = (({
  controls: { controlsOf, segments, select, slider, tick },
  format: { cut, percent, shownName },
  grid: {
    EVERY_RANDOM,
    QUANTITIES,
    cellsWhere,
    differenceOf,
    gridsOf,
    heightScale,
    planeNames,
    rangeOf,
    severalRandom,
    sharedPlanes,
  },
  lookup: { comparedRows, shownRuns },
  page_data: { constants, page },
  plot_panel: { chart },
  scales: { ticksOf },
  state: { state },
  subsets: { rows },
  surface_traces: { flatTraces, linkCameras, resetCamera, spatialTraces },
  theme: { SIGNS, baseLayout, diverging, ink, rem, runText, sequential },
  unpack: { unpack },
}) => {
  const codes = constants.status;
  const MOST_COLUMNS = 4;
  const LEAST_WIDTH = 260; // pixels; narrower pages stack the runs
  const UNLIKE = ["eigen", "gradient"]; // planes along whose axes the loss rises at so unlike rates that each has its own scale
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  function buildSurface() {
    const quantities = Object.entries(QUANTITIES).filter(([key]) =>
      page.surfaces.flat().some((plane) => key === "loss" || key === "rise" || plane[key]),
    );
    const controls = controlsOf("surface");
    if (planeNames.length > 1)
      controls.append(
        select("Plane", "plane", [
          [
            "",
            [
              ["", "of the split"],
              ...(severalRandom ? [[EVERY_RANDOM, "every random plane"]] : []),
              ...planeNames.map((name) => [name, name]),
            ],
          ],
        ]),
      );
    controls.append(
      select("Quantity", "quantity", [["", quantities.map(([key, { title }]) => [key, title])]]),
      segments("Form", "form", [
        ["contour", "Contour"],
        ["3d", "3-D"],
      ]),
      tick("Log", "log"),
    );
    if (sharedPlanes()) controls.append(tick("Difference", "difference"));
    if (
      page.surfaces
        .flat()
        .some((plane) => plane.status && unpack(plane.status).some((code) => code === codes.interpolated))
    )
      controls.append(tick("Points", "points"));
    if (page.surfaces.flat().some((plane) => plane.path)) controls.append(tick("Path", "path"));
    controls.append(slider("Clip", "clip", 50, 100));
    const keys = [
      "view",
      "row",
      "pin",
      "hidden",
      "plane",
      "form",
      "quantity",
      "log",
      "clip",
      "points",
      "path",
      "difference",
    ];
    const panel = chart("surface", keys, drawSurface, surfaceNumbers);
    panel.bind = linkCameras;
    panel.reset = resetCamera;
  }

  function surfaceGrids() {
    const shown = comparedRows()
      .map((row) => shownRuns().flatMap((run) => gridsOf(run, row)))
      .filter((line) => line.length);
    if (!state.difference) return { lines: shown, differs: false };
    const lines = shown.map(([first, ...others]) =>
      others.map((other) => ({ ...differenceOf(first, other), first: first.run })).filter((grid) => grid.values),
    );
    return { lines: lines.filter((line) => line.length), differs: true };
  }

  function drawSurface(width) {
    const { lines, differs } = surfaceGrids();
    if (!lines.length) return { empty: emptySurface(differs) };
    const grids = lines.flat();
    const scale = heightScale(grids, differs);
    const range = rangeOf(grids, scale, differs);
    if (!range) return { empty: "No point of this surface is finite." };
    const flat = state.form === "contour";
    const most = Math.max(1, Math.min(MOST_COLUMNS, Math.floor(width / LEAST_WIDTH)));
    const columns = Math.min(most, Math.max(...lines.map((line) => line.length)));
    const places = lines.flatMap((line, band) =>
      line.map((grid, i) => ({
        grid,
        column: i % columns,
        line: band * Math.ceil(line.length / columns) + Math.floor(i / columns),
      })),
    );
    const count = Math.max(...places.map(({ line }) => line)) + 1;
    const span = ([low, high]) => high - low || 1;
    const apart = grids.some((grid) => UNLIKE.includes(grid.plane.plane));
    const shape = !flat ? 1 : apart ? 0.8 : clamp(span(widest(grids, "b")) / span(widest(grids, "a")), 0.25, 2);
    const frame = frameOf(width, columns, count, flat, shape);
    const data = [];
    const layout = baseLayout({
      width,
      height: frame.height,
      margin: frame.margin,
      uirevision: `${state.form}`,
      annotations: [],
      meta: { a: widest(grids, "a"), b: widest(grids, "b"), apart },
      coloraxis: {
        colorscale: differs ? diverging() : sequential(),
        cmin: range[0],
        cmax: range[1],
        colorbar: colorBar(scale, range, differs),
      },
    });
    places.forEach(({ grid, column, line }, i) => {
      const [x0, x1] = [
        (column * (frame.cell + frame.gap)) / frame.inner,
        (column * (frame.cell + frame.gap) + frame.cell) / frame.inner,
      ];
      const top = 1 - (line * (frame.cellHeight + frame.rowGap)) / frame.innerHeight;
      const domain = { x: [x0, x1], y: [Math.max(0, top - frame.cellHeight / frame.innerHeight), top] };
      const size = { width: frame.cell, height: frame.cellHeight };
      layout.annotations.push(titleOf(grid, domain));
      data.push(
        ...(flat
          ? flatTraces(grid, scale, range, i, layout, { ...domain, ...size })
          : spatialTraces(grid, scale, range, i, layout, domain)),
      );
    });
    return {
      data,
      layout,
      stage: state.form,
      caption: surfaceCaption(grids, differs),
      label: `${QUANTITIES[state.quantity].title} surfaces of ${comparedRows()
        .map((row) => rows[row].title)
        .join(" and ")} for ${grids.map((grid) => page.runs[grid.run]).join(", ")}`,
    };
  }

  function emptySurface(differs) {
    const name = cut(rows[state.row].title, 60);
    if (differs && shownRuns().length < 2) return "A difference needs two runs in sight.";
    if (differs && shownRuns().every((run) => gridsOf(run, state.row).length))
      return "These runs were cut along different planes, so their difference is not defined.";
    return page.surfaces.flat().length
      ? `No ${QUANTITIES[state.quantity].title} surface of “${name}” is on this page.`
      : "No surface was measured; add one with python -m landscape.surface.";
  }

  // Sizes in pixels: planes side by side, `shape` times as high as wide, a color bar at the right.
  function frameOf(width, columns, lines, flat, shape) {
    const margin = { l: flat ? 48 : 8, r: 96, t: 34, b: flat ? 40 : 8 };
    const gap = flat ? 58 : 12;
    const room = (width - margin.l - margin.r - gap * (columns - 1)) / columns;
    const tallest = Math.max(300, window.innerHeight * 0.62);
    const cell = flat ? Math.min(room, tallest / shape) : room;
    const cellHeight = Math.min(cell * shape, tallest);
    const inner = columns * cell + gap * (columns - 1);
    margin.r = width - margin.l - inner;
    const rowGap = flat ? 74 : 36;
    const innerHeight = lines * cellHeight + (lines - 1) * rowGap;
    return { margin, gap, inner, cell, cellHeight, rowGap, innerHeight, height: innerHeight + margin.t + margin.b };
  }

  function colorBar(scale, [low, high], differs) {
    const { title } = QUANTITIES[state.quantity];
    return {
      title: {
        text: differs ? `difference<br>in ${title}` : title.replace(" above", "<br>above").replace(" of ", "<br>of "),
        side: "top",
        font: { size: 0.76 * rem(), color: ink("soft") },
      },
      thickness: 12,
      len: 1,
      outlinewidth: 0,
      x: 1,
      xpad: 14,
      ypad: 0,
      tickfont: { size: 0.74 * rem(), color: ink("soft") },
      ...ticksOf(scale, low, high),
      ...(QUANTITIES[state.quantity].percent ? { tickformat: ".0%" } : {}),
    };
  }

  function titleOf(grid, { x, y }) {
    const plane = state.plane === EVERY_RANDOM ? ` · ${shownName(grid.plane.name, 14)}` : "";
    const other = grid.first === undefined ? "" : ` − ${shownName(page.runs[grid.first], 20)}`;
    return {
      xref: "paper",
      yref: "paper",
      x: x[0],
      y: y[1],
      xanchor: "left",
      yanchor: "bottom",
      yshift: 4,
      showarrow: false,
      align: "left",
      text: `<b>${SIGNS[grid.run % 8]} ${shownName(page.runs[grid.run], 20)}${other}</b>  ${shownName(rows[grid.row].title, 24)}${plane}`,
      font: { color: runText(grid.run), size: 0.84 * rem() },
    };
  }

  // All planes are drawn over the widest span among them, so that equal lengths on the page are equal distances.
  function widest(grids, name) {
    const low = Math.min(...grids.map((grid) => grid[name][0]));
    return [low, Math.max(...grids.map((grid) => grid[name][grid[name].length - 1]))];
  }

  function surfaceCaption(grids, differs) {
    const { words } = QUANTITIES[state.quantity];
    const { plane } = grids[0];
    const several = state.plane === EVERY_RANDOM;
    const apart =
      state.form === "contour" && grids.some((grid) => UNLIKE.includes(grid.plane.plane))
        ? " Each axis has its own scale."
        : "";
    const what = differs
      ? `Difference in ${words}: each run minus ${page.runs[grids[0].first]}; blue is lower`
      : `The ${words}`;
    const shared = grids.length > 1 && !differs ? " on one color scale" : "";
    const clip =
      state.clip < 100
        ? ` The highest ${100 - state.clip} % ${state.form === "contour" ? "share one color" : "are cut off"}.`
        : "";
    const outside =
      state.path && plane.path?.hidden ? unpack(plane.path.hidden).reduce((p, q) => Math.max(p, q), 0) : NaN;
    const path = Number.isFinite(outside)
      ? ` ${plane.plane === "checkpoints" ? "White points: the networks the plane was laid through" : "White line: the training path"}${outside > constants.visible ? `; at the worst of them ${percent(outside)} of the distance lies outside this plane` : ""}.`
      : "";
    const marks = grids.some(
      (grid) => cellsWhere(grid, (status, value) => status !== codes.todo && !Number.isFinite(value)).x.length,
    )
      ? " ✕: not finite."
      : "";
    const dots = state.points ? " Dots: measured; the rest is interpolated." : "";
    const absent = shownRuns()
      .filter((run) => !grids.some((grid) => grid.run === run || grid.first === run))
      .map((run) => page.runs[run]);
    const none = absent.length ? ` No such surface: ${absent.join(", ")}.` : "";
    return `${what}${shared}, in ${several ? "random planes" : `${/^[aeio]/.test(plane.plane) ? "an" : "a"} ${plane.plane} plane (${plane.name})`}; the cross is the measured network.${apart}${differs ? "" : toleranceOf(grids)}${clip}${path}${marks}${dots}${none}`;
  }

  // Which subsets were too rough for the tolerance that was asked of their interpolated cells.
  function toleranceOf(grids) {
    const told = grids.flatMap(({ plane, row, run }) => {
      const kept = plane.kept ? unpack(plane.kept)[plane.rows.indexOf(row)] : NaN;
      return kept > plane.tolerance
        ? [
            `“${cut(rows[row].title, 24)}” of ${page.runs[run]} keeps ${percent(kept)} of its range, not ${percent(plane.tolerance)}`,
          ]
        : [];
    });
    return told.length ? ` Too rough for the tolerance that was asked for: ${told.join("; ")}.` : "";
  }

  function surfaceNumbers() {
    const grids = comparedRows().flatMap((row) => shownRuns().flatMap((run) => gridsOf(run, row)));
    return [
      ["subset", "run", "plane", "a", "b", state.quantity, "status"],
      ...grids.flatMap((grid) =>
        Array.from(grid.values, (value, i) => [
          rows[grid.row].name,
          page.runs[grid.run],
          grid.plane.name,
          grid.a[i % grid.a.length],
          grid.b[Math.floor(i / grid.a.length)],
          value,
          grid.status ? grid.status[i] : "",
        ]),
      ),
    ];
  }

  return { buildSurface };
})(landscape);

// What a surface is drawn of: contours with their marks and paths, or a mesh in a scene that turns with all others.

landscape.surface_traces = (({
  format: { cut, figure, percent, plotlyText, shownName },
  grid: { QUANTITIES, cellsWhere, centerOf, heightsOf, meshOf },
  page_data: { constants, page },
  scales: { ticksOf },
  state: { state },
  theme: { axis, ink, rem },
  unpack: { unpack },
}) => {
  const codes = constants.status;
  const CAMERA = { eye: { x: 1.22, y: -1.22, z: 0.9 }, center: { x: 0, y: 0, z: -0.18 } };
  let camera = CAMERA;

  // How a cell came to be, where it was not simply measured; an interpolated loss with the error that the file states.
  function stateOf({ status, error }, at) {
    if (!status) return "";
    const off =
      error?.[at] > 0 && ["loss", "rise"].includes(state.quantity) ? `, estimated error ${figure(error[at])}` : "";
    const told = {
      [codes.todo]: " (not measured)",
      [codes.nonFinite]: " (not finite)",
      [codes.failed]: " (failed)",
      [codes.interpolated]: ` (interpolated${off})`,
    };
    return told[status[at]] ?? "";
  }

  function hoverGrid(grid) {
    const { percent: share } = QUANTITIES[state.quantity];
    return Array.from({ length: grid.b.length }, (_, i) =>
      Array.from(grid.a, (_a, j) => {
        const at = i * grid.a.length + j;
        return `${share ? percent(grid.values[at]) : figure(grid.values[at])}${stateOf(grid, at)}`;
      }),
    );
  }

  const LETTER = 0.44; // of a rem: how wide a letter of an axis title is

  // What an axis is, cut to the length of its side in pixels.
  function axisTitle({ plane }, which, side) {
    const words = plane.axes[which] ?? "ab"[which];
    return plotlyText(cut(words, Math.max(8, Math.floor(side / (LETTER * rem())))));
  }

  function flatTraces(grid, scale, range, i, layout, { x, y, width, height }) {
    const id = i ? i + 1 : "";
    const apart = layout.meta.apart ? {} : { scaleanchor: `x${id}` };
    layout[`xaxis${id}`] = axis({
      domain: x,
      anchor: `y${id}`,
      title: axisTitle(grid, 0, width),
      range: layout.meta.a,
      showgrid: false,
      constrain: "domain",
    });
    layout[`yaxis${id}`] = axis({
      domain: y,
      anchor: `x${id}`,
      title: axisTitle(grid, 1, height),
      range: layout.meta.b,
      showgrid: false,
      constrain: "domain",
      ...apart,
    });
    const on = { xaxis: `x${id}`, yaxis: `y${id}` };
    const traces = [
      {
        type: "contour",
        ...on,
        x: Array.from(grid.a),
        y: Array.from(grid.b),
        z: heightsOf(grid, scale),
        text: hoverGrid(grid),
        coloraxis: "coloraxis",
        connectgaps: false,
        contours: { coloring: "heatmap", start: range[0], end: range[1], size: (range[1] - range[0]) / 14 },
        line: { width: 0.6, color: "rgba(255,255,255,0.55)", smoothing: 0.6 },
        hovertemplate: `${shownName(page.runs[grid.run])}<br>a %{x:.3g}, b %{y:.3g}<br>${QUANTITIES[state.quantity].title} %{text}<extra></extra>`,
      },
    ];
    const dots = (cells, marker) => {
      if (cells.x.length)
        traces.push({
          type: "scatter",
          mode: "markers",
          ...on,
          ...cells,
          marker,
          hoverinfo: "skip",
          cliponaxis: false,
        });
    };
    dots(
      cellsWhere(
        grid,
        (status, value) =>
          status === codes.nonFinite || status === codes.failed || (status !== codes.todo && !Number.isFinite(value)),
      ),
      { symbol: "x-thin-open", size: 5, color: ink("serious") },
    );
    if (state.points && grid.status)
      dots(
        cellsWhere(grid, (status) => status === codes.measured),
        {
          symbol: "circle",
          size: 2.6,
          color: "rgba(255,255,255,0.85)",
          line: { width: 0.5, color: "rgba(0,0,0,0.6)" },
        },
      );
    if (state.path && grid.plane.path) traces.push(...pathTraces(grid.plane, on));
    traces.push({
      type: "scatter",
      mode: "markers",
      ...on,
      x: [0],
      y: [0],
      marker: { symbol: "cross", size: 0.6 * rem(), color: "#ffffff", line: { width: 1, color: "#101317" } },
      hoverinfo: "text",
      text: "the measured network",
    });
    return traces;
  }

  // The points a plane was laid for: a trajectory as a line, separate networks by name. The fainter a point, the more of
  // its distance the plane does not show.
  function pathTraces({ path, plane }, on) {
    const [x, y, hidden] = [
      Array.from(unpack(path.a)),
      Array.from(unpack(path.b)),
      path.hidden ? unpack(path.hidden) : null,
    ];
    const apart = plane === "checkpoints";
    return [
      {
        type: "scatter",
        mode: apart ? "markers+text" : "lines+markers",
        ...on,
        x,
        y,
        line: { color: "rgba(255,255,255,0.9)", width: 1.6 },
        cliponaxis: false,
        marker: {
          size: apart ? 9 : 7,
          color: x.map((_, i) => `rgba(255,255,255,${hidden ? (1 - 0.85 * hidden[i]).toFixed(2) : 1})`),
          line: { width: 1, color: "#101317" },
        },
        text: path.names.map((name) => shownName(name, 20)),
        textposition: "top center",
        textfont: { color: "#ffffff", size: 0.78 * rem() },
        hoverinfo: "text",
        hovertext: path.names.map(
          (name, i) =>
            `${shownName(name, 40)}${hidden ? `<br>${percent(hidden[i])} of its distance is not shown` : ""}`,
        ),
      },
    ];
  }

  // A mesh of the very cells: Plotly's own surface trace refines them ninefold, which software renderers take seconds for.
  // Every scene names its sides; only the first has numbers there, since every letter is a shape of its own, and the
  // others have the same.
  function spatialTraces(grid, scale, range, i, layout, domain) {
    const id = i ? `scene${i + 1}` : "scene";
    const side = (title, more = {}) => ({
      title: { text: title, font: { size: 0.76 * rem(), color: ink("soft") } },
      tickfont: { size: 0.66 * rem(), color: ink("soft") },
      gridcolor: ink("line"),
      zerolinecolor: ink("line"),
      showbackground: false,
      showspikes: false,
      showticklabels: !i,
      nticks: 5,
      ...more,
    });
    layout[id] = {
      domain,
      camera,
      aspectmode: "manual",
      aspectratio: { x: 1, y: 1, z: 0.75 },
      xaxis: side("a", { range: layout.meta.a }),
      yaxis: side("b", { range: layout.meta.b }),
      bgcolor: "rgba(0,0,0,0)",
      zaxis: side("", {
        range,
        ...ticksOf(scale, range[0], range[1]),
        ...(QUANTITIES[state.quantity].percent ? { tickformat: ".0%" } : {}),
      }),
    };
    const mesh = meshOf(grid, heightsOf(grid, scale, range[1]), hoverGrid(grid));
    return [
      {
        type: "mesh3d",
        scene: id,
        ...mesh,
        intensity: mesh.z,
        coloraxis: "coloraxis",
        lighting: {
          ambient: 0.75,
          diffuse: 0.5,
          specular: 0.05,
          roughness: 0.9,
          vertexnormalsepsilon: 0,
          facenormalsepsilon: 0,
        },
        lightposition: { x: 10, y: 10000, z: 0 },
        hovertemplate: `a %{x:.3g}, b %{y:.3g}<br>${QUANTITIES[state.quantity].title} %{text}<extra></extra>`,
      },
      ...centerMark(grid, scale, id),
    ];
  }

  // The measured network on its surface, where its own cell is finite.
  function centerMark(grid, scale, scene) {
    const height = scale.forward(grid.values[centerOf(grid.plane)]);
    if (height === null || !Number.isFinite(height)) return [];
    return [
      {
        type: "scatter3d",
        mode: "markers",
        scene,
        x: [0],
        y: [0],
        z: [height],
        marker: { symbol: "cross", size: 4, color: "#ffffff", line: { width: 1, color: "#101317" } },
        hoverinfo: "text",
        text: "the measured network",
      },
    ];
  }

  // Turning one scene turns all.
  function linkCameras(plot) {
    let turning = false;
    const turn = async (changes) => {
      const [key] = Object.keys(changes).filter((name) => /^scene\d*\.camera$/.test(name));
      if (!key || turning) return;
      turning = true;
      camera = changes[key];
      const others = Object.keys(plot.layout).filter((name) => /^scene\d*$/.test(name) && `${name}.camera` !== key);
      await Plotly.relayout(plot, Object.fromEntries(others.map((name) => [`${name}.camera`, camera])));
      turning = false;
    };
    // After the wheel Plotly tells the view before the last step; it tells the present one where a button is let go.
    let still;
    plot.addEventListener("wheel", ({ target }) => {
      clearTimeout(still);
      still = setTimeout(() => target.dispatchEvent(new MouseEvent("mouseup")), 150);
    });
    plot.on("plotly_relayout", turn);
    plot.on("plotly_relayouting", turn);
  }

  function resetCamera() {
    camera = CAMERA;
  }

  return { flatTraces, spatialTraces, linkCameras, resetCamera };
})(landscape);

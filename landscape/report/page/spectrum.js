// The spectrum of the chosen subset in every run, and of the pinned subset beside it: how many eigenvalues lie how far out.

landscape.spectrum = (({
  controls: { controlsOf, segments },
  format: { cut, figure, percent, shownName },
  lookup: { comparedRows, currentView, shownRuns },
  page_data: { page },
  plot_panel: { chart },
  scales: { LINEAR, LOG, padded, signed, ticksOf },
  state: { state },
  subsets: { rows },
  theme: { axis, baseLayout, ink, runColor },
  unpack: { unpack },
}) => {
  const KERNEL = 0.01; // its standard deviation as a share of the widest spectrum in sight
  const POINTS = 400;
  const DECADES = 4; // an eigenvalue so far below the largest is drawn in the linear middle of the axis

  function buildSpectrum() {
    controlsOf("spectrum").append(
      segments("Form", "spectrum", [
        ["counts", "Counts"],
        ["density", "Density"],
      ]),
    );
    chart("spectrum", ["view", "row", "pin", "hidden", "spectrum"], drawSpectrum, spectrumNumbers);
  }

  // {row, run, nodes, weights, converged} of every spectrum in sight.
  function spectraInSight() {
    return comparedRows().flatMap((row) =>
      shownRuns().flatMap((run) => {
        const found = currentView()?.spectra[run][row];
        if (!found) return [];
        const [nodes, weights, converged] = [found.nodes, found.weights, found.converged].map(unpack);
        return [{ row, run, nodes, weights, converged }];
      }),
    );
  }

  // The share of eigenvalues at or beyond each node other than 0, counted from its own end of the spectrum.
  function beyond({ nodes, weights }) {
    const [below, above] = [[], []];
    for (let i = 0, sum = 0; i < nodes.length; i += 1) below[i] = sum += weights[i];
    for (let i = nodes.length - 1, sum = 0; i >= 0; i -= 1) above[i] = sum += weights[i];
    return Array.from(nodes, (node, i) => [node, node < 0 ? below[i] : above[i]]).filter(([node]) => node !== 0);
  }

  function drawSpectrum(width) {
    const spectra = spectraInSight();
    if (!spectra.length) return { empty: `No spectrum of ${cut(rows[state.row].title, 60)} is on this page.` };
    const drawn = state.spectrum === "density" ? densities(spectra) : counts(spectra);
    const names = comparedRows().map((row) => `“${cut(rows[row].title, 40)}”`);
    const pinned = names.length > 1 ? `${names[0]} (solid) and ${names[1]} (dotted)` : names[0];
    return {
      data: drawn.traces,
      layout: baseLayout({
        width,
        height: Math.max(360, Math.min(620, width * 0.62)),
        margin: { l: 66, r: 14, t: 58, b: 50 },
        showlegend: true,
        xaxis: axis({ title: "eigenvalue λ", range: drawn.x.range, ...ticksOf(drawn.x.scale, ...drawn.x.range) }),
        yaxis: axis({ title: drawn.y.title, range: drawn.y.range, ...ticksOf(LOG, ...drawn.y.range) }),
      }),
      label: `Spectrum of ${names.join(" and ")}`,
      caption: `Hessian spectrum of ${pinned}. ${drawn.caption}`,
    };
  }

  const labelOf = ({ row, run }) =>
    comparedRows().length > 1
      ? `${shownName(page.runs[run], 20)} · ${shownName(rows[row].title, 18)}`
      : shownName(page.runs[run]);

  const lineOf = ({ row, run }) => ({
    color: runColor(run),
    width: row === state.row ? 2 : 1.4,
    dash: row === state.row ? "solid" : "dot",
  });

  // Steps down to either side, and a stem at every eigenvalue that was found by itself.
  function counts(spectra) {
    const sizes = spectra.flatMap(({ nodes }) => Array.from(nodes, Math.abs));
    const most = sizes.reduce((p, q) => Math.max(p, q), 0) || 1;
    const scale = signed(10 ** Math.floor(Math.log10(most) - DECADES));
    const floor = spectra.flatMap(beyond).reduce((least, [, share]) => Math.min(least, share), 1) / 2;
    const traces = spectra.flatMap((spectrum) => {
      const points = beyond(spectrum);
      return [stepTrace(spectrum, points, scale, floor), ...stemTraces(spectrum, points, scale, floor)];
    });
    return {
      traces,
      x: {
        scale,
        range: padded(spectra.flatMap(({ nodes }) => [nodes[0], nodes[nodes.length - 1]]).map(scale.forward)),
      },
      y: { title: "share of eigenvalues beyond", range: [Math.log10(floor), 0.1] },
      caption:
        "Right of 0 the line is the share of all eigenvalues at λ or above, left of 0 at λ or below. Stems are " +
        "eigenvalues found one by one; between them stochastic Lanczos quadrature estimates the share. Nothing is smoothed.",
    };
  }

  // Left of 0 a share holds up to the next node on its right, right of 0 from the last node on its left.
  function stepTrace(spectrum, points, scale, floor) {
    const corners = points.flatMap(([node, share], i) => {
      const [negative, outer] = [node < 0, points[node < 0 ? i - 1 : i + 1]];
      const outside = outer && outer[0] < 0 === negative ? outer[1] : 0;
      return negative
        ? [
            [node, outside],
            [node, share],
          ]
        : [
            [node, share],
            [node, outside],
          ];
    });
    const middle = corners.findIndex(([node]) => node > 0);
    if (middle > 0) corners.splice(middle, 0, [0, corners[middle - 1][1]], [0, corners[middle][1]]);
    return {
      type: "scatter",
      mode: "lines",
      x: corners.map(([node]) => scale.forward(node)),
      y: corners.map(([, share]) => Math.log10(Math.max(share, floor))),
      name: labelOf(spectrum),
      line: lineOf(spectrum),
      hoverinfo: "text",
      text: corners.map(
        ([node, share]) =>
          `<b>${labelOf(spectrum)}</b><br>${percentOf(share)} of the eigenvalues are ${node < 0 ? "≤" : "≥"} ${figure(node)}`,
      ),
    };
  }

  function stemTraces(spectrum, points, scale, floor) {
    const shares = new Map(points);
    const nearest = (value) => {
      const near = points.reduce((best, point) =>
        Math.abs(point[0] - value) < Math.abs(best[0] - value) ? point : best,
      );
      return shares.get(near[0]);
    };
    const found = points.length ? Array.from(spectrum.converged).filter((value) => value !== 0) : [];
    if (!found.length) return [];
    const tops = found.map((value) => Math.log10(Math.max(nearest(value), floor)));
    return [
      {
        type: "scatter",
        mode: "markers",
        x: found.map(scale.forward),
        y: tops,
        error_y: {
          type: "data",
          symmetric: false,
          array: tops.map(() => 0),
          arrayminus: tops.map((top) => top - Math.log10(floor)),
          width: 0,
          thickness: 1.2,
          color: runColor(spectrum.run),
        },
        marker: { color: ink("card"), size: 7, line: { width: 1.8, color: runColor(spectrum.run) } },
        hoverinfo: "text",
        text: found.map((value) => `<b>${labelOf(spectrum)}</b><br>λ = ${figure(value)}`),
        showlegend: false,
      },
    ];
  }

  const percentOf = (share) => (share >= 1e-3 ? percent(share) : `${figure(100 * share)} %`);

  // One Gaussian for every spectrum in sight, each curve cut at its own smallest and largest eigenvalue.
  function densities(spectra) {
    const span = ({ nodes }) => nodes[nodes.length - 1] - nodes[0];
    const kernel = KERNEL * spectra.reduce((most, spectrum) => Math.max(most, span(spectrum)), 0) || 1;
    const curves = spectra.map((spectrum) => {
      const { nodes, weights } = spectrum;
      const x = Array.from({ length: POINTS }, (_, i) => nodes[0] + (span(spectrum) * i) / (POINTS - 1));
      const bell = (at, node) => Math.exp(-0.5 * ((at - node) / kernel) ** 2) / (kernel * Math.sqrt(2 * Math.PI));
      const y = x.map((at) => nodes.reduce((sum, node, i) => sum + weights[i] * bell(at, node), 0));
      return { spectrum, x, y };
    });
    const most = curves.flatMap(({ y }) => y).reduce((p, q) => Math.max(p, q), 0) || 1;
    const floor = most * 1e-7;
    return {
      traces: curves.map(({ spectrum, x, y }) => ({
        type: "scatter",
        mode: "lines",
        x,
        y: y.map((value) => (value > floor ? Math.log10(value) : null)),
        name: labelOf(spectrum),
        line: lineOf(spectrum),
        hoverinfo: "text",
        text: x.map((at, i) => `<b>${labelOf(spectrum)}</b><br>density ${figure(y[i])} at λ = ${figure(at)}`),
      })),
      x: { scale: LINEAR, range: padded(curves.flatMap(({ x }) => [x[0], x[POINTS - 1]])) },
      y: { title: "spectral density", range: [Math.log10(floor) - 0.3, Math.log10(most) + 0.5] },
      caption: `Density smoothed by one Gaussian of standard deviation ${figure(kernel)} for all curves, each cut at its smallest and largest eigenvalue; nothing narrower is resolved.`,
    };
  }

  function spectrumNumbers() {
    return [
      ["subset", "run", "split", "eigenvalue", "weight", "share_beyond"],
      ...spectraInSight().flatMap((spectrum) => {
        const shares = new Map(beyond(spectrum));
        return Array.from(spectrum.nodes, (node, i) => [
          rows[spectrum.row].name,
          page.runs[spectrum.run],
          state.view,
          node,
          spectrum.weights[i],
          shares.get(node) ?? NaN,
        ]);
      }),
    ];
  }

  return { buildSpectrum };
})(landscape);

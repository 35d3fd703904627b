// What a tracker measured along training: the chosen subset by epoch, or all classes at one moment that a slider moves.

landscape.track = (({
  controls: { controlsOf, segments, slider },
  format: { cut, figure, shownName },
  lookup: { shownRuns },
  page_data: { page },
  plot_panel: { chart },
  scales: { LINEAR, LOG, padded, ticksOf },
  state: { choose, state },
  subsets: { classes, rows },
  theme: { SYMBOLS, axis, baseLayout, runColor },
  unpack: { unpack },
}) => {
  const TITLES = {
    top: "largest Hessian eigenvalue",
    loss: "loss",
    sam: "increase of the loss up its gradient",
    cosine: "cosine with the gradient of all samples",
  };
  const SHORT = { top: "λ top", loss: "Loss", sam: "Sharpness", cosine: "Gradient cosine" };

  function buildTrack() {
    const known = Object.keys(SHORT).filter((key) => page.tracks.some((track) => track?.values[key]));
    if (!known.length) {
      document.getElementById("track").hidden = true;
      return;
    }
    controlsOf("track").append(
      segments(
        "Quantity",
        "track",
        known.map((key) => [key, SHORT[key]]),
      ),
      segments("Form", "moment", [
        ["", "By time"],
        ["classes", "All classes"],
      ]),
      slider("Moment", "when", 0, 100),
    );
    const draw = (width) => (state.moment ? drawMoment(width) : drawTrack(width));
    const panel = chart("track", ["row", "hidden", "track", "moment", "when"], draw, trackNumbers);
    panel.bind = (plot) =>
      plot.on("plotly_click", ({ points }) => {
        if (Number.isInteger(points[0]?.customdata)) choose(points[0].customdata);
      });
  }

  function tracksOf(row) {
    return shownRuns().flatMap((run) => {
      const track = page.tracks[run];
      const packed = track?.values[state.track]?.[row];
      if (!packed) return [];
      const every = unpack(track.x);
      const values = unpack(packed);
      const kept = Array.from(values.keys()).filter((i) => Number.isFinite(values[i]));
      return kept.length ? [{ run, track, x: kept.map((i) => every[i]), y: kept.map((i) => values[i]) }] : [];
    });
  }

  // A fixed axis for cosines; else logarithmic wherever all values allow it.
  function trackAxis(values) {
    if (state.track === "cosine") return { scale: LINEAR, title: TITLES.cosine, range: [-1.05, 1.05] };
    const scale = values.every((value) => value > 0) ? LOG : LINEAR;
    const range = padded(values.map(scale.forward));
    return { scale, title: TITLES[state.track], range, ...ticksOf(scale, ...range) };
  }

  // Every class at the point nearest to the slider's share of the run's way, on axes that hold for all moments.
  function drawMoment(width) {
    const found = shownRuns().flatMap((run) => {
      const track = page.tracks[run];
      const values = track?.values[state.track];
      const known = values ? classes.filter((row) => values[row.index]) : [];
      return known.length ? [{ run, track, x: unpack(track.x), values, known }] : [];
    });
    if (!found.length) return { empty: `No ${TITLES[state.track]} of single classes was tracked.` };
    const every = found.flatMap(({ values, known }) => known.flatMap((row) => Array.from(unpack(values[row.index]))));
    const { scale, ...side } = trackAxis(every.filter(Number.isFinite));
    const place = new Map(classes.map((row, i) => [row.index, i]));
    const told = [];
    const data = found.map(({ run, track, x, values, known }) => {
      const at = Math.round((state.when / 100) * (x.length - 1));
      told.push(`${shownName(page.runs[run])} at ${track.by} ${figure(x[at])}`);
      const now = known.map((row) => unpack(values[row.index])[at]);
      return {
        type: "scatter",
        mode: "lines+markers",
        x: known.map((row) => place.get(row.index)),
        y: now.map((value) => (Number.isFinite(value) ? scale.forward(value) : null)),
        customdata: known.map((row) => row.index),
        line: { color: runColor(run), width: 1 },
        marker: { color: runColor(run), symbol: SYMBOLS[run % 8], size: 7 },
        hoverinfo: "text",
        name: shownName(page.runs[run]),
        text: known.map(
          (row, i) => `<b>${shownName(row.title)}</b><br>${shownName(page.runs[run])}: ${figure(now[i])}`,
        ),
      };
    });
    const named =
      classes.length <= 30
        ? { tickvals: classes.map((_, i) => i), ticktext: classes.map((row) => shownName(row.title, 14)) }
        : { showticklabels: false };
    return {
      data,
      layout: baseLayout({
        width,
        height: Math.max(320, Math.min(460, width * 0.3)),
        xaxis: axis({ title: "class, head → tail", range: [-0.6, classes.length - 0.4], ...named }),
        yaxis: axis(side),
        margin: { l: 60, r: 14, t: 40, b: 48 },
        showlegend: found.length > 1,
      }),
      caption: `${titled()} of every class: ${told.join("; ")}. The slider moves the moment; the axes stay.`,
      label: `${TITLES[state.track]} of every class at one moment of training`,
    };
  }

  function titled(radii = "") {
    const title = state.track === "sam" && radii ? `${TITLES.sam}, by a step of ${radii},` : TITLES[state.track];
    return `${title[0].toUpperCase()}${title.slice(1)}`;
  }

  function drawTrack(width) {
    const lines = tracksOf(state.row);
    if (!lines.length) return { empty: `No ${TITLES[state.track]} of ${cut(rows[state.row].title, 60)} was tracked.` };
    const by = [...new Set(lines.map(({ track }) => track.by))].join(" or ");
    const { scale, ...side } = trackAxis(lines.flatMap(({ y }) => y));
    const data = lines.map(({ run, track, x, y }) => ({
      type: "scatter",
      mode: y.length > 1 ? "lines+markers" : "markers",
      x,
      y: y.map(scale.forward),
      line: { color: runColor(run), width: 1.8 },
      marker: { color: runColor(run), symbol: SYMBOLS[run % 8], size: y.length > 1 ? 5 : 8 },
      hoverinfo: "text",
      name: shownName(page.runs[run]),
      text: x.map((at, i) => `<b>${shownName(page.runs[run])}</b><br>${track.by} ${figure(at)}: ${figure(y[i])}`),
    }));
    const layout = baseLayout({
      width,
      height: Math.max(300, Math.min(460, width * 0.3)) + (width < 500 ? 20 * lines.length : 0),
      xaxis: axis({ title: by }),
      yaxis: axis(side),
      margin: { l: 60, r: 14, t: width < 500 ? 20 + 20 * lines.length : 40, b: 48 },
      showlegend: lines.length > 1,
    });
    const radii = [...new Set(lines.map(({ track }) => figure(track.radius)))].join(" or ");
    const told = lines.map(({ run, track, y }) => {
      const missing = track.due - y.length;
      const left = missing ? `, ${missing} of ${track.due} left out` : "";
      return `${shownName(page.runs[run])} at ${y.length} points${left}`;
    });
    return {
      data,
      layout,
      caption: `${titled(radii)} of “${cut(rows[state.row].title, 40)}” along training: ${told.join("; ")}.`,
      label: `${TITLES[state.track]} of ${rows[state.row].title} along training`,
    };
  }

  function trackNumbers() {
    return [
      ["subset", "run", "by", "at", state.track],
      ...tracksOf(state.row).flatMap(({ run, track, x, y }) =>
        x.map((at, i) => [rows[state.row].name, page.runs[run], track.by, at, y[i]]),
      ),
    ];
  }

  return { buildTrack };
})(landscape);

// What a tracker measured along training, of the chosen subset: every run in its color.

landscape.track = (({
  controls: { controlsOf, segments },
  format: { cut, figure, shownName },
  lookup: { shownRuns },
  page_data: { page },
  plot_panel: { chart },
  state: { state },
  subsets: { rows },
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
    );
    chart("track", ["row", "hidden", "track"], drawTrack, trackNumbers);
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

  function drawTrack(width) {
    const lines = tracksOf(state.row);
    if (!lines.length) return { empty: `No ${TITLES[state.track]} of ${cut(rows[state.row].title, 60)} was tracked.` };
    const by = [...new Set(lines.map(({ track }) => track.by))].join(" or ");
    const data = lines.map(({ run, track, x, y }) => ({
      type: "scatter",
      mode: y.length > 1 ? "lines+markers" : "markers",
      x,
      y,
      line: { color: runColor(run), width: 1.8 },
      marker: { color: runColor(run), symbol: SYMBOLS[run % 8], size: y.length > 1 ? 5 : 8 },
      hoverinfo: "text",
      name: shownName(page.runs[run]),
      text: x.map((at, i) => `<b>${shownName(page.runs[run])}</b><br>${track.by} ${figure(at)}: ${figure(y[i])}`),
    }));
    const positive = state.track !== "cosine" && lines.every(({ y }) => y.every((value) => value > 0));
    const layout = baseLayout({
      width,
      height: Math.max(300, Math.min(460, width * 0.3)) + (width < 500 ? 20 * lines.length : 0),
      xaxis: axis({ title: by }),
      yaxis: axis({
        title: TITLES[state.track],
        ...(state.track === "cosine" ? { range: [-1.05, 1.05] } : { type: positive ? "log" : "linear" }),
      }),
      margin: { l: 60, r: 14, t: width < 500 ? 20 + 20 * lines.length : 40, b: 48 },
      showlegend: lines.length > 1,
    });
    const radii = [...new Set(lines.map(({ track }) => figure(track.radius)))].join(" or ");
    const told = lines.map(({ run, track, y }) => {
      const missing = track.due - y.length;
      const left = missing ? `, ${missing} of ${track.due} left out` : "";
      return `${shownName(page.runs[run])} at ${y.length} points${left}`;
    });
    const title = state.track === "sam" ? `${TITLES.sam}, by a step of ${radii}` : TITLES[state.track];
    return {
      data,
      layout,
      caption: `${title[0].toUpperCase()}${title.slice(1)}, of “${cut(rows[state.row].title, 40)}” along training: ${told.join("; ")}.`,
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

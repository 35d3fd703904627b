// Thousands of classes: per run the median and the middle 80 % of classes of like rank, instead of a dot each.

landscape.quantile_bands = (({
  format: { grouped, shownName },
  lookup: { hoverOf, numberOf },
  page_data: { page },
  state: { state },
  subsets: { classes, rankOf, rows },
  theme: { DASHES, SYMBOLS, ink, rem, runColor, withAlpha },
}) => {
  const CROWD_BINS = 120;

  // {x, median, low, high} in the scale's units, over equal slices of the ranking.
  function crowdOf(values, scale) {
    const size = Math.ceil(values.length / CROWD_BINS);
    const found = { x: [], median: [], low: [], high: [] };
    for (let from = 0; from < values.length; from += size) {
      const slice = Array.from(values.slice(from, from + size), scale.forward)
        .filter((y) => y !== null && Number.isFinite(y))
        .sort((p, q) => p - q);
      if (!slice.length) continue;
      const at = (share) => slice[Math.round((slice.length - 1) * share)];
      found.x.push(from + (Math.min(size, values.length - from) - 1) / 2);
      found.median.push(at(0.5));
      found.low.push(at(0.1));
      found.high.push(at(0.9));
    }
    return found;
  }

  function crowdTraces(run, scale, measure, extent) {
    const { x, median, low, high } = crowdOf(
      classes.map((row) => numberOf(measure.key, run, row.index)),
      scale,
    );
    extent.push(...low, ...high);
    const color = runColor(run);
    const chosen = rankOf.get(state.row);
    const y = chosen === undefined ? null : scale.forward(numberOf(measure.key, run, state.row));
    return [
      {
        type: "scatter",
        mode: "lines",
        x: [...x, ...x.slice().reverse()],
        y: [...high, ...low.slice().reverse()],
        fill: "toself",
        fillcolor: withAlpha(color, 0.18),
        line: { width: 0 },
        hoverinfo: "skip",
        showlegend: false,
      },
      {
        type: "scatter",
        mode: "lines",
        x,
        y: median,
        customdata: x.map((rank) => classes[Math.round(rank)].index),
        line: { color: color, width: 2, dash: DASHES[run % 8] },
        name: shownName(page.runs[run]),
        showlegend: true,
        hoverinfo: "text",
        text: x.map((rank) => `${shownName(page.runs[run])}<br>classes around rank ${grouped(Math.round(rank))}`),
      },
      ...(y === null || !Number.isFinite(y)
        ? []
        : [
            {
              type: "scatter",
              mode: "markers",
              x: [chosen],
              y: [y],
              customdata: [state.row],
              marker: {
                color: color,
                symbol: SYMBOLS[run % 8],
                size: 0.65 * rem(),
                line: { width: 2, color: ink("ink") },
              },
              hoverinfo: "text",
              text: [hoverOf(run, rows[state.row], measure)],
              showlegend: false,
            },
          ]),
    ];
  }

  return { crowdTraces };
})(landscape);

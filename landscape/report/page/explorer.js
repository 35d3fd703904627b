// Any measure against class rank or against any other measure, every run in its color, with errors and rank correlation.

landscape.explorer = (({
  controls: { controlsOf, measureFamilies, select, tick },
  correlation: { spearman },
  format: { grouped, shownName },
  lookup: { column, drawnClasses, hoverOf, shownRuns, numberOf },
  page_data: { page },
  plot_panel: { chart },
  quantile_bands: { crowdTraces },
  scales: { LINEAR, LOG, kneeOf, padded, signed, ticksOf },
  state: { choose, state },
  subsets: { classes, groups, measureOf, rows },
  theme: { DASHES, SYMBOLS, axis, baseLayout, ink, rem, runColor, withAlpha },
}) => {
  const MOST_POINTS = 600;
  const NAMED_TICKS = 30;

  function buildExplorer() {
    controlsOf("explorer").append(
      select("Show", "y", measureFamilies()),
      select("against", "x", [["", [["rank", "class, head → tail"]]], ...measureFamilies()]),
      tick("Errors", "errors"),
    );
    const panel = chart("explorer", ["view", "row", "hidden", "y", "x", "errors"], drawExplorer, explorerNumbers);
    panel.bind = (plot) =>
      plot.on("plotly_click", ({ points }) => {
        const row = points[0]?.customdata;
        if (Number.isInteger(row)) choose(row);
      });
  }

  function scaleFor(key, values) {
    const measure = measureOf.get(key);
    if (!measure || measure.scale === "linear") return LINEAR;
    if (measure.scale === "signed" || values.some((value) => value < 0)) return signed(kneeOf(values));
    return LOG;
  }

  function drawExplorer(width) {
    const runs = shownRuns();
    const byRank = state.x === "rank";
    const crowd = byRank && classes.length > MOST_POINTS;
    const points = crowd ? classes : drawnClasses(MOST_POINTS);
    const measure = measureOf.get(state.y);
    if (!measure || !points.length) return { empty: "No measure of single classes is in these files." };
    const have = runs.filter((run) => column(state.y, run));
    if (!have.length) return { empty: `${measure.title} was not measured on the ${state.view} split.` };
    const place = new Map(points.map((row, at) => [row.index, at]));
    const all = (key) =>
      have.flatMap((run) => rows.map((row) => numberOf(key, run, row.index)).filter(Number.isFinite));
    const yScale = scaleFor(state.y, all(state.y));
    const xScale = byRank ? LINEAR : scaleFor(state.x, all(state.x));
    const extent = [];
    const traces = crowd
      ? have.flatMap((run) => crowdTraces(run, yScale, measure, extent))
      : have.map((run, order) => {
          const shift = byRank && points.length <= NAMED_TICKS ? (order - (have.length - 1) / 2) * 0.13 : 0;
          const x = points.map((row) =>
            byRank ? place.get(row.index) + shift : xScale.forward(numberOf(state.x, run, row.index)),
          );
          const y = points.map((row) => yScale.forward(numberOf(state.y, run, row.index)));
          extent.push(...y.filter((value) => value !== null && Number.isFinite(value)));
          return {
            type: "scatter",
            mode: byRank && points.length <= NAMED_TICKS ? "lines+markers" : "markers",
            x,
            y,
            customdata: points.map((row) => row.index),
            name: shownName(page.runs[run]),
            showlegend: true,
            hoverinfo: "text",
            text: points.map((row) => hoverOf(run, row, measure)),
            cliponaxis: false,
            line: { color: withAlpha(runColor(run), 0.45), width: 1.5, dash: DASHES[run % 8] },
            marker: {
              color: runColor(run),
              symbol: SYMBOLS[run % 8],
              size: (points.length > 150 ? 0.3 : points.length > NAMED_TICKS ? 0.4 : 0.56) * rem(),
              line: { width: points.map((row) => (row.index === state.row ? 2.5 : 0)), color: ink("ink") },
            },
            error_y: state.errors ? errorBars(run, points, yScale, extent) : undefined,
          };
        });
    if (byRank) traces.unshift(...groupLevels(have, points, yScale));
    const [low, high] = padded(extent);
    const layout = baseLayout({
      width,
      height: Math.max(360, Math.min(620, width * 0.62)),
      margin: { l: 60, r: 14, t: 58, b: byRank ? 76 : 50 },
      showlegend: true,
      xaxis: byRank
        ? rankAxis(points)
        : axis({
            title: measureOf.get(state.x).title,
            ...(xScale === LINEAR ? {} : ticksFor(traces, xScale)),
            tickformat: measureOf.get(state.x).percent ? ".0%" : undefined,
          }),
      yaxis: axis({
        title: measure.title,
        range: [low, high],
        ...ticksOf(yScale, low, high),
        tickformat: measure.percent ? ".0%" : undefined,
      }),
      ...(byRank ? bandsOf(points) : {}),
    });
    return {
      data: traces,
      layout,
      caption: explorerCaption(measure, have, points),
      label: `${measure.title} of ${points.length} classes for ${have.map((run) => page.runs[run]).join(", ")}`,
    };
  }

  function ticksFor(traces, scale) {
    const [low, high] = padded(
      traces.flatMap((trace) => trace.x).filter((value) => value !== null && Number.isFinite(value)),
    );
    return { range: [low, high], ...ticksOf(scale, low, high) };
  }

  function errorBars(run, points, scale, extent) {
    const { v, lo, hi } = column(state.y, run);
    if (!lo) return undefined;
    const length = (row, end) => {
      const [from, to] = [scale.forward(v[row.index]), scale.forward(end[row.index])];
      if (from === null || to === null || !Number.isFinite(to)) return 0;
      if (Number.isFinite(to)) extent.push(Math.max(Math.min(to, from + 3), from - 3));
      return Math.abs(to - from);
    };
    return {
      type: "data",
      symmetric: false,
      array: points.map((row) => length(row, hi)),
      arrayminus: points.map((row) => length(row, lo)),
      color: withAlpha(runColor(run), 0.75),
      thickness: 1.2,
      width: points.length > 150 ? 0 : 4,
    };
  }

  // What was measured of all samples as one, and of each group, as levels under their classes.
  function groupLevels(runs, points, scale) {
    const levels = [];
    for (const name of ["all", "many", "medium", "few"]) {
      const all = name === "all";
      const members = points.map((row, at) => (all || row.group === name ? at : -1)).filter((at) => at >= 0);
      const group = groups.find((row) => row.name === name);
      if (!members.length || !group) continue;
      for (const run of runs) {
        const y = scale.forward(numberOf(state.y, run, group.index));
        if (y === null || !Number.isFinite(y)) continue;
        levels.push({
          type: "scatter",
          mode: "lines",
          x: [members[0] - 0.42, members[members.length - 1] + 0.42],
          y: [y, y],
          customdata: [group.index, group.index],
          line: all
            ? { color: withAlpha(runColor(run), 0.9), width: 1.2, dash: "dot" }
            : { color: withAlpha(runColor(run), 0.35), width: 5 },
          hoverinfo: "text",
          text: [0, 1].map(() => hoverOf(run, group, measureOf.get(state.y))),
          showlegend: false,
        });
      }
    }
    return levels;
  }

  function rankAxis(points) {
    const named = points.length <= NAMED_TICKS;
    const at = points.map((_, i) => i);
    return axis({
      title: named ? "" : "classes by training count, head → tail",
      range: [-0.6, points.length - 0.4],
      showgrid: false,
      ...(named
        ? {
            tickvals: at,
            ticktext: points.map((row) => shownName(row.title, 14)),
            tickangle: points.length > 6 ? -35 : 0,
          }
        : {}),
    });
  }

  function bandsOf(points) {
    const shapes = [];
    const annotations = [];
    for (let i = 0, shade = 0; i < points.length; shade += 1) {
      let end = i;
      while (end < points.length && points[end].group === points[i].group) end += 1;
      if (shade % 2 === 0)
        shapes.push({
          type: "rect",
          xref: "x",
          yref: "paper",
          x0: i - 0.5,
          x1: end - 0.5,
          y0: 0,
          y1: 1,
          fillcolor: ink("band"),
          line: { width: 0 },
          layer: "below",
        });
      annotations.push({
        xref: "x",
        yref: "paper",
        x: (i + end - 1) / 2,
        y: 1,
        yanchor: "bottom",
        text: points[i].group ? `${points[i].group}-shot` : "",
        showarrow: false,
        font: { size: 0.74 * rem(), color: ink("soft") },
      });
      i = end;
    }
    const chosen = points.length > MOST_POINTS ? -1 : points.findIndex((row) => row.index === state.row);
    if (chosen >= 0)
      shapes.push({
        type: "rect",
        xref: "x",
        yref: "paper",
        x0: chosen - 0.42,
        x1: chosen + 0.42,
        y0: 0,
        y1: 1,
        fillcolor: ink("mark"),
        line: { width: 0 },
        layer: "below",
      });
    return { shapes, annotations };
  }

  function explorerCaption(measure, runs, points) {
    const other = state.x === "rank" ? "train_count" : state.x;
    const against = state.x === "rank" ? "training count" : measureOf.get(state.x).title;
    let most = 0;
    const told = runs
      .map((run) => {
        const found = spearman(
          classes.map((row) => numberOf(other, run, row.index)),
          classes.map((row) => numberOf(state.y, run, row.index)),
        );
        most = Math.max(most, found.n);
        const interval =
          found.n > 4 && Math.abs(found.rho) < 1 ? ` (${found.low.toFixed(2)} to ${found.high.toFixed(2)})` : "";
        return Number.isFinite(found.rho)
          ? `${page.runs[run]} ${`${found.rho.toFixed(2)}${interval}`.replaceAll("-", "−")}`
          : "";
      })
      .filter(Boolean)
      .join("; ");
    const few =
      points.length > MOST_POINTS
        ? " Lines: median of classes of like rank; bands: the middle 80 % of them."
        : points.length < classes.length
          ? ` Drawn: ${points.length} of ${grouped(classes.length)} classes, the sharpest and the flattest.`
          : "";
    const bars =
      state.errors && measure.error && runs.some((run) => column(state.y, run).lo) ? ` Bars: ${measure.error}.` : "";
    const rank =
      told && state.x !== state.y
        ? ` Rank correlation with ${against} over ${grouped(most)} classes (Spearman, 95 %): ${told}.`
        : "";
    return `${measure.title}: ${measure.words}.${rank}${bars}${state.x === "rank" && groups.length ? " Wide pale lines: the group measured as one; dotted ones: all samples." : ""}${few}`;
  }

  function explorerNumbers() {
    const keys = [...new Set([state.x === "rank" ? "train_count" : state.x, state.y])].filter((key) =>
      measureOf.has(key),
    );
    return [
      ["subset", "name", "group", "run", "split", ...keys, `${state.y}_low`, `${state.y}_high`],
      ...rows.flatMap((row) =>
        shownRuns().map((run) => {
          const found = column(state.y, run);
          return [
            row.name,
            row.title,
            row.group,
            page.runs[run],
            state.view,
            ...keys.map((key) => numberOf(key, run, row.index)),
            found?.lo ? found.lo[row.index] : NaN,
            found?.hi ? found.hi[row.index] : NaN,
          ];
        }),
      ),
    ];
  }

  return { buildExplorer };
})(landscape);

// Looking a number up: the measures, verdicts and classes of the view, runs and subsets that are shown.

landscape.lookup = (({
  format: { grouped, shownName, shownWithin },
  page_data: { constants, page },
  state: { state },
  subsets: { classes, measureOf },
  unpack: { unpack },
}) => {
  const currentView = () => page.views.find((view) => view.name === state.view) || page.views[0];
  const shownRuns = () => page.runs.map((_, run) => run).filter((run) => !state.hidden.includes(run));

  // A measure of one run as {v, lo, hi} over all rows, or null when the run does not have it.
  function column(key, run, view = currentView()) {
    const packed = view?.columns[run][key];
    return packed ? { v: unpack(packed.v), lo: unpack(packed.lo), hi: unpack(packed.hi) } : null;
  }

  function numberOf(key, run, row, view = currentView()) {
    const found = column(key, run, view);
    return found ? found.v[row] : NaN;
  }

  function verdictOf(run, row) {
    const view = currentView();
    return view ? constants.verdicts[view.verdicts[run][row]] : undefined;
  }

  // Classes worth drawing one by one: all of them when they fit, else the sharpest and the flattest, in head-to-tail order.
  function drawnClasses(most) {
    if (classes.length <= most) return classes;
    const key = measureOf.has("top") ? "top" : "loss";
    const known = classes.filter((row) => Number.isFinite(numberOf(key, shownRuns()[0] ?? 0, row.index)));
    const order = (known.length ? known : classes).slice();
    if (known.length)
      order.sort((p, q) => numberOf(key, shownRuns()[0] ?? 0, q.index) - numberOf(key, shownRuns()[0] ?? 0, p.index));
    const chosen = new Set([...order.slice(0, constants.extremes), ...order.slice(-constants.extremes)]);
    return classes.filter((row) => chosen.has(row) || row.index === state.row);
  }

  // The chosen subset, and the pinned one beside it.
  function comparedRows() {
    return state.pin >= 0 && state.pin !== state.row ? [state.row, state.pin] : [state.row];
  }

  function hoverOf(run, row, measure) {
    const told = shownWithin(measure, column(measure.key, run), row.index);
    return `<b>${shownName(row.title, 40)}</b> · ${grouped(row.count)} training samples<br>${shownName(page.runs[run])}: ${told}`;
  }

  return { currentView, shownRuns, column, numberOf, verdictOf, drawnClasses, comparedRows, hoverOf };
})(landscape);

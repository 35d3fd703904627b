// The numbers of the page: rows (subsets), runs, views and measures, and how to look one up.

const page = JSON.parse(document.getElementById("data").textContent);

const rows = page.rows.title.map((title, index) => ({
  index, title,
  name: page.rows.name[index],
  kind: page.rows.kind[index],
  group: page.rows.group[index],
  count: unpack(page.rows.count)[index],
}));
rows.forEach((row, index) => {
  const same = rows.slice(0, rows.length > 500 ? 0 : index).filter((other) => other.name === row.name).length;
  row.key = same ? `${row.name}~${same}` : row.name;
});
const classes = rows.filter((row) => row.kind === "class");
const groups = rows.filter((row) => row.kind !== "class");
const rankOf = new Map(classes.map((row, rank) => [row.index, rank]));
const measureOf = new Map(page.measures.map((measure) => [measure.key, measure]));
const VERDICTS = [
  { name: "negative", sign: "▼", words: "negative curvature, proven", short: "negative" },
  { name: "none-found", sign: "○", words: "no negative curvature found", short: "none found" },
  { name: "undecided", sign: "?", words: "undecided within the noise", short: "undecided" },
];

const currentView = () => page.views.find((view) => view.name === state.view) || page.views[0];
const shownRuns = () => page.runs.map((_, run) => run).filter((run) => !state.hidden.includes(run));

// A measure of one run as {v, lo, hi} over all rows, or null when the run does not have it.
function column(key, run, view = currentView()) {
  const packed = view && view.columns[run][key];
  return packed ? { v: unpack(packed.v), lo: unpack(packed.lo), hi: unpack(packed.hi) } : null;
}

function valueOf(key, run, row, view = currentView()) {
  const found = column(key, run, view);
  return found ? found.v[row] : NaN;
}

function verdictOf(run, row) {
  const view = currentView();
  return view ? VERDICTS[view.verdicts[run][row]] : undefined;
}

// Classes worth drawing one by one: all of them when they fit, else the sharpest and the flattest, in head-to-tail order.
const EXTREMES = 20;
function drawnClasses(most) {
  if (classes.length <= most) return classes;
  const key = measureOf.has("top") ? "top" : "loss";
  const known = classes.filter((row) => Number.isFinite(valueOf(key, shownRuns()[0] ?? 0, row.index)));
  const order = (known.length ? known : classes).slice();
  if (known.length) order.sort((p, q) => valueOf(key, shownRuns()[0] ?? 0, q.index) - valueOf(key, shownRuns()[0] ?? 0, p.index));
  const chosen = new Set([...order.slice(0, EXTREMES), ...order.slice(-EXTREMES)]);
  return classes.filter((row) => chosen.has(row) || row.index === state.row);
}

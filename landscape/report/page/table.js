// The summary: a line a subset and run, sortable; every later run says how its figure stands to the first run's.

landscape.table = (({
  controls: { controlsOf, follow, segments },
  element: { element },
  export: { exportMenu },
  format: { factor, grouped, shownValue },
  lookup: { drawnClasses, shownRuns, numberOf, verdictOf },
  page_data: { page },
  state: { change, choose, state, whenever },
  subsets: { measureOf, rows },
}) => {
  const MOST_LINES = 240;

  function summaryKeys() {
    return ["train_count", ...page.summary].filter((key) => measureOf.has(key));
  }

  function buildTable() {
    const body = document.querySelector("#summary .body");
    const keys = summaryKeys();
    const draw = () => {
      const runs = shownRuns();
      const listed = listedRows();
      const lines = listed.rows.flatMap((row) => runs.map((run) => ({ row, run })));
      sortLines(lines);
      const bars = barsOf(lines, keys);
      const table = element("table", {}, headOf(keys));
      const content = element("tbody");
      content.append(...lines.map((line, i) => lineOf(line, keys, runs[0], bars, i && lines[i - 1].row === line.row)));
      table.append(content);
      body.replaceChildren(lines.length ? table : element("p", { class: "empty" }, "No subset of that name."));
      document.querySelector("#summary .caption").textContent =
        `${listed.told}Small figures: times the value of ${page.runs[runs[0]]}, or points of accuracy more. Bars: λ₁ and trace on a logarithmic scale.`;
    };
    body.addEventListener("click", (event) => {
      const head = event.target.closest("th button");
      if (head) sortBy(head.dataset.sort);
      const line = event.target.closest("tbody tr");
      if (line) choose(Number(line.dataset.row));
    });
    controlsOf("summary").append(
      findBox(),
      segments("Lines", "list", [
        ["groups", "Groups"],
        ["classes", "Classes"],
        ["all", "All"],
      ]),
    );
    document.querySelector("#summary .save").append(exportMenu("summary", null, () => summaryNumbers(keys)));
    draw();
    whenever(["view", "hidden", "sort", "list", "find", "theme"], draw);
    whenever(["row"], () => {
      for (const line of body.querySelectorAll("tbody tr"))
        line.classList.toggle("selected", Number(line.dataset.row) === state.row);
    });
  }

  function findBox() {
    const box = element("input", {
      type: "search",
      placeholder: "Find a class",
      "aria-label": "Find a class",
      oninput: () => change({ find: box.value }),
    });
    follow("find", () => {
      if (box.value !== state.find) box.value = state.find;
    });
    return box;
  }

  function listedRows() {
    const wanted = state.find.trim().toLowerCase();
    const kinds =
      { groups: (row) => row.kind !== "class", classes: (row) => row.kind === "class", all: () => true }[state.list] ??
      (() => true);
    const found = rows.filter((row) => (wanted ? row.title.toLowerCase().includes(wanted) : kinds(row)));
    if (found.length <= MOST_LINES) return { rows: found, told: "" };
    const extremes = new Set(drawnClasses(0));
    const kept = wanted ? found.slice(0, MOST_LINES) : found.filter((row) => row.kind !== "class" || extremes.has(row));
    return {
      rows: kept,
      told: `${kept.length} of ${grouped(found.length)} subsets: ${wanted ? "the first ones found" : "groups, the sharpest and the flattest classes"}. `,
    };
  }

  // `sort` is a key with a leading minus when descending; empty keeps groups first, then head to tail.
  function sortBy(key) {
    change({ sort: state.sort === `-${key}` ? key : state.sort === key ? "" : `-${key}` });
  }

  function sortLines(lines) {
    if (!state.sort) return;
    const down = state.sort.startsWith("-");
    const key = state.sort.replace("-", "");
    if (key === "title" || key === "run") {
      const text = ({ row, run }) => (key === "title" ? row.title : page.runs[run]);
      lines.sort((p, q) => text(p).localeCompare(text(q)) * (down ? -1 : 1));
      return;
    }
    const value = ({ row, run }) => numberOf(key, run, row.index);
    lines.sort((p, q) => {
      const [a, b] = [value(p), value(q)];
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return down ? b - a : a - b;
    });
  }

  function headOf(keys) {
    const cell = (key, text, title) => {
      const sorted = state.sort.replace("-", "") === key && state.sort;
      const sign = !sorted ? "" : state.sort.startsWith("-") ? " ↓" : " ↑";
      return element(
        "th",
        {
          scope: "col",
          title,
          class: ["title", "run", "train_count"].includes(key) ? null : "figure",
          "aria-sort": sorted ? (sign === " ↓" ? "descending" : "ascending") : null,
        },
        element("button", { type: "button", "data-sort": key }, text + sign),
      );
    };
    return element(
      "thead",
      {},
      element(
        "tr",
        {},
        cell("title", "Subset", "sort by name"),
        cell("run", "Run", "sort by run"),
        ...keys.map((key) => cell(key, measureOf.get(key).short, measureOf.get(key).words)),
      ),
    );
  }

  function barsOf(lines, keys) {
    const bars = new Map();
    for (const key of keys.filter((name) => name === "top" || name === "trace")) {
      const logs = lines
        .map(({ row, run }) => numberOf(key, run, row.index))
        .filter((value) => value > 0)
        .map(Math.log10);
      if (logs.length) bars.set(key, { low: Math.min(...logs) - 0.3, high: Math.max(...logs) });
    }
    return bars;
  }

  function lineOf({ row, run }, keys, first, bars, again) {
    const cells = keys.map((key) => {
      const measure = measureOf.get(key);
      const value = numberOf(key, run, row.index);
      if (key === "train_count") return element("td", {}, Number.isFinite(value) ? grouped(value) : "–");
      const cell = element("td", { class: "figure" }, shownValue(measure, value));
      cell.append(
        element(
          "span",
          { class: "delta" },
          run === first ? "" : deltaOf(measure, value, numberOf(key, first, row.index)),
        ),
      );
      if (bars.has(key) && value > 0) {
        const { low, high } = bars.get(key);
        const bar = element("span", { class: "bar" });
        bar.style.width = `calc((100% - 3.9rem) * ${((Math.log10(value) - low) / (high - low)).toFixed(3)})`;
        bar.style.background = `var(--run-${page.colors[run]})`;
        cell.append(bar);
      }
      return cell;
    });
    const choice = again ? "" : element("button", { type: "button", class: "link", "data-row": row.index }, row.title);
    const name = element("td", { class: "name", title: row.title }, choice);
    const line = element(
      "tr",
      { "data-row": row.index, "data-run": run, class: again ? "" : "first" },
      name,
      element("td", { class: `run run-${page.colors[run]}` }, page.runs[run]),
      ...cells,
    );
    line.classList.toggle("selected", row.index === state.row);
    return line;
  }

  function deltaOf(measure, value, reference) {
    if (!Number.isFinite(value) || !Number.isFinite(reference)) return "";
    if (measure.percent)
      return Math.abs(value - reference) < 5e-4
        ? "="
        : `${value > reference ? "+" : "−"}${Math.abs(100 * (value - reference)).toFixed(1)}`;
    return factor(value / reference);
  }

  function summaryNumbers(keys) {
    return [
      ["subset", "name", "kind", "group", "run", "split", ...keys, "verdict"],
      ...rows.flatMap((row) =>
        shownRuns().map((run) => [
          row.name,
          row.title,
          row.kind,
          row.group,
          page.runs[run],
          state.view,
          ...keys.map((key) => numberOf(key, run, row.index)),
          verdictOf(run, row.index)?.name ?? "",
        ]),
      ),
    ];
  }

  return { buildTable };
})(landscape);

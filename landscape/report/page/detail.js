// The chosen subset in figures: what each run measured, what is left of it on held-out samples, and every sample of a small class.

landscape.detail = (({
  element: { element },
  format: { figure, grouped, shownWithin },
  lookup: { column, currentView, shownRuns, numberOf, verdictOf },
  page_data: { page },
  state: { state, whenever },
  subsets: { measureOf, rows },
  theme: { ink, runColor, withAlpha },
  unpack: { unpack },
}) => {
  const HELD_OUT =
    "Held out: the direction is found on one half of the samples, its curvature measured on the other, at these weights; in brackets 95 % over the samples. The plain eigenvalue errs outwards (it is the most extreme of many directions on its own samples), the held-out one inwards: on samples the network was not trained on, the class’s own lies between; of training samples neither says what new ones would show.";
  const ONE_BY_ONE =
    "Dots: vᵀHᵢv of every single sample along the class’s own extreme direction; their mean, the long tick, is the eigenvalue.";
  const ENDS = [
    ["top", "λ₁"],
    ["bottom", "λmin"],
  ];
  const BESIDES = [
    ["negative_share", "negative share"],
    ["effective_rank", "effective rank"],
    ["loss", "loss"],
    ["gradient", "gradient norm"],
  ];

  function buildDetail() {
    const body = document.getElementById("detail");
    const draw = () => {
      const row = rows[state.row];
      const told = shownRuns()
        .map((run) => detailOf(run, row))
        .filter(Boolean);
      body.replaceChildren();
      if (!told.length) return;
      const held = shownRuns().some((run) =>
        ENDS.some(([end]) => Number.isFinite(numberOf(`${end}_held_out`, run, row.index))),
      );
      const dots = shownRuns().some((run) => ENDS.some(([end]) => samplesOf(run, end, row.index)));
      body.append(
        element(
          "h3",
          {},
          row.title,
          element("span", {}, ` ${grouped(row.count)} training samples${row.group ? `, ${row.group}-shot` : ""}`),
        ),
        element("div", { class: "runs" }, ...told),
        held || dots
          ? element("p", { class: "caption" }, [held ? HELD_OUT : "", dots ? ONE_BY_ONE : ""].filter(Boolean).join(" "))
          : "",
      );
    };
    draw();
    whenever(["view", "hidden", "row"], draw);
  }

  const samplesOf = (run, end, row) => unpack(currentView()?.samples[run][end]?.[row]);

  function detailOf(run, row) {
    const value = (key) => numberOf(key, run, row.index);
    const known = ENDS.filter(([end]) => Number.isFinite(value(end)));
    const verdict = verdictOf(run, row.index);
    const rest = [
      page.atEqualLoss[run][row.index]
        ? `at equal loss against ${page.runs[0]}: ${page.atEqualLoss[run][row.index]}`
        : "",
      verdict ? `${verdict.sign} ${verdict.words}` : "",
      ...BESIDES.filter(([key]) => Number.isFinite(value(key))).map(
        ([key, words]) => `${words} ${shownWithin(measureOf.get(key), column(key, run), row.index)}`,
      ),
    ].filter(Boolean);
    if (!known.length && !rest.length) return null;
    const strips = known.map(([end, sign]) => [sign, samplesOf(run, end, row.index)]).filter(([, values]) => values);
    return element(
      "div",
      {},
      element(
        "p",
        {},
        element("span", { class: `run run-${page.colors[run]}` }, page.runs[run]),
        ...known.map(([end, sign]) =>
          element(
            "span",
            { class: "figure" },
            `${sign} `,
            element("strong", {}, figure(value(end))),
            heldOut(run, `${end}_held_out`, row.index),
          ),
        ),
      ),
      ...strips.map(([sign, values]) => stripOf(run, sign, Array.from(values))),
      element("p", {}, rest.join(" · ")),
    );
  }

  function heldOut(run, key, row) {
    const found = column(key, run);
    if (!found || !Number.isFinite(found.v[row])) return null;
    return ` · held out ${shownWithin(measureOf.get(key), found, row)}`;
  }

  // A dot a sample on a line from the smallest (or 0) to the largest (or 0) value.
  function stripOf(run, sign, values) {
    const svg = (tag, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      return made;
    };
    const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
    const at = (value) => `${3 + (94 * (value - low)) / (high - low || 1)}%`;
    const drawn = svg("svg", {
      class: "samples",
      height: 26,
      role: "img",
      "aria-label": `${sign} of each of ${values.length} samples: ${values.map(figure).join(", ")}`,
    });
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    drawn.append(
      svg("line", { x1: "3%", x2: "97%", y1: 13, y2: 13, stroke: ink("line") }),
      svg("line", { x1: at(0), x2: at(0), y1: 8, y2: 18, stroke: ink("faint") }),
      svg("line", { x1: at(mean), x2: at(mean), y1: 2, y2: 24, stroke: runColor(run), "stroke-width": 2 }),
    );
    for (const value of values) {
      const dot = svg("circle", {
        cx: at(value),
        cy: 13,
        r: 4.5,
        fill: withAlpha(runColor(run), 0.6),
        stroke: ink("card"),
      });
      dot.append(svg("title", {}));
      dot.firstChild.textContent = figure(value);
      drawn.append(dot);
    }
    return element(
      "div",
      { class: "dots" },
      element("span", {}, `${sign}: ${figure(low)}`),
      drawn,
      element("span", {}, figure(high)),
    );
  }

  return { buildDetail };
})(landscape);

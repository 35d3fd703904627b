// The verdict strip: a column a class from head to tail, a row a run; color tells λ₁, sign and word tell the verdict.

landscape.verdict_strip = (({
  element: { element },
  export: { exportMenu },
  format: { figure, grouped },
  lookup: { drawnClasses, shownRuns, numberOf, verdictOf },
  page_data: { constants, page },
  state: { choose, state, whenever },
  subsets: { classes },
  theme: { ink },
}) => {
  const MOST_TILES = 120;

  function buildStrip() {
    const section = document.getElementById("verdicts");
    const body = section.querySelector(".body");
    const draw = () => {
      const columns = drawnClasses(MOST_TILES);
      const runs = shownRuns();
      if (!columns.length || !page.views.length) {
        body.replaceChildren(element("p", { class: "empty" }, "No class was measured one by one."));
        return;
      }
      const values = runs.flatMap((run) => columns.map((row) => numberOf("top", run, row.index)));
      const shade = shadeOf(values);
      const wordy = columns.length <= 14;
      const grid = element("div", { class: "strip", role: "group", "aria-label": "classes from head to tail" });
      grid.classList.toggle("wordy", wordy);
      grid.style.gridTemplateColumns = `max-content repeat(${columns.length}, minmax(var(--least), 1fr))`;
      grid.append(...groupHeads(columns));
      for (const run of runs) {
        grid.append(
          element("span", { class: `runname run run-${page.colors[run]}`, title: page.runs[run] }, page.runs[run]),
        );
        for (const row of columns) grid.append(tile(run, row, shade, wordy, columns.length <= 40));
      }
      if (wordy)
        grid.append(
          element("span"),
          ...columns.map((row) =>
            element(
              "span",
              { class: "classname", title: row.title },
              element("b", {}, row.title),
              `${grouped(row.count)} train`,
            ),
          ),
        );
      body.replaceChildren(grid, legend(shade));
      const few =
        columns.length < classes.length
          ? `${columns.length} of ${grouped(classes.length)} classes: the ${constants.extremes} sharpest and the ${constants.extremes} flattest of ${page.runs[runs[0]]}; search for any other. `
          : "";
      section.querySelector(".caption").textContent = few + tally(runs);
      select_();
    };
    const select_ = () => {
      for (const button of body.querySelectorAll(".tile")) {
        const selected = Number(button.dataset.row) === state.row;
        button.classList.toggle("selected", selected);
        button.setAttribute("aria-pressed", String(selected));
      }
    };
    body.addEventListener("click", (event) => {
      const button = event.target.closest(".tile");
      if (button) choose(Number(button.dataset.row));
    });
    body.addEventListener("keydown", (event) => {
      const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 0, ArrowUp: 0 };
      if (!(event.key in moves) || !event.target.matches(".tile")) return;
      event.preventDefault();
      const tiles = [...body.querySelectorAll(".tile")];
      const wide = tiles.length / shownRuns().length;
      const by = moves[event.key] || (event.key === "ArrowDown" ? wide : -wide);
      const to = tiles[tiles.indexOf(event.target) + by];
      if (to) {
        to.focus();
        choose(Number(to.dataset.row));
      }
    });
    draw();
    whenever(["view", "hidden", "theme"], draw);
    whenever(["row"], () => (classes.length > MOST_TILES ? draw() : select_()));
    document.querySelector("#verdicts .save").append(exportMenu("verdicts", null, verdictNumbers));
  }

  function groupHeads(columns) {
    const heads = [element("span")];
    for (let i = 0; i < columns.length; ) {
      let end = i;
      while (end < columns.length && columns[end].group === columns[i].group) end += 1;
      const head = element("span", { class: "groupname" }, columns[i].group ? `${columns[i].group}-shot` : "");
      head.style.gridColumn = `span ${end - i}`;
      heads.push(head);
      i = end;
    }
    return heads;
  }

  // Color by the logarithm of λ₁; the sharpest stands out most from the page's ground in light and in dark.
  function shadeOf(values) {
    const logs = values.filter((value) => value > 0).map(Math.log10);
    const low = logs.length ? Math.min(...logs) : 0;
    const high = logs.length ? Math.max(...logs) : 1;
    const colors =
      document.documentElement.dataset.theme === "dark"
        ? page.palette.sequential
        : page.palette.sequential.slice().reverse();
    const color = (value) => {
      if (!(value > 0)) return null;
      const share = (Math.log10(value) - low) / (high - low || 1);
      return colors[Math.round(share * (colors.length - 1))];
    };
    return { low: 10 ** low, high: 10 ** high, color, ramp: colors, known: logs.length > 0 };
  }

  function readableOn(color) {
    const [r, g, b] = [1, 3, 5]
      .map((at) => parseInt(color.slice(at, at + 2), 16) / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
  }

  function tile(run, row, shade, wordy, signs) {
    const value = numberOf("top", run, row.index);
    const verdict = verdictOf(run, row.index);
    const told = `${row.title}, ${row.count} training samples, ${page.runs[run]}: λ₁ ${figure(value)}, λmin ${figure(numberOf("bottom", run, row.index))}, ${verdict ? verdict.words : "no verdict"}`;
    const button = element("button", {
      type: "button",
      class: wordy ? "tile" : "tile bare",
      "data-row": row.index,
      title: told,
    });
    const color = shade.color(value);
    button.style.background = color || ink("band");
    button.style.color = color ? readableOn(color) : ink("soft");
    const below = verdict ? sizeOf(verdict, numberOf("bottom", run, row.index)) : "no verdict";
    if (wordy) button.append(figure(value), element("small", {}, below));
    else if (signs && verdict) button.append(verdict.sign);
    button.setAttribute("aria-label", wordy ? `${figure(value)} ${below}: ${told}` : told); // begins with what is seen
    return button;
  }

  // A proven negative eigenvalue by its size, any other verdict by its word.
  function sizeOf(verdict, bottom) {
    return `${verdict.sign} ${bottom < 0 && verdict === constants.verdicts[0] ? figure(bottom) : verdict.short}`;
  }

  function legend(shade) {
    const ramp = element("span", { class: "ramp" });
    ramp.style.background = `linear-gradient(to right, ${shade.ramp.join(",")})`;
    return element(
      "div",
      { class: "legend" },
      shade.known
        ? element("span", {}, `λ₁ ${figure(shade.low)}`, ramp, figure(shade.high))
        : element("span", {}, "λ₁ was not measured"),
      ...constants.verdicts.map((verdict) => element("span", {}, `${verdict.sign} ${verdict.words}`)),
    );
  }

  function tally(runs) {
    return runs
      .map((run) => {
        const found = constants.verdicts.map((verdict) => [
          classes.filter((row) => verdictOf(run, row.index) === verdict).length,
          verdict.short,
        ]);
        const told = found
          .filter(([size]) => size)
          .map(([size, words]) => `${size} ${words}`)
          .join(", ");
        return `${page.runs[run]}: ${told || "no verdicts"}`;
      })
      .join(" · ");
  }

  function verdictNumbers() {
    const head = ["subset", "name", "group", "train_count", "run", "split", "top", "bottom", "verdict"];
    return [
      head,
      ...classes.flatMap((row) =>
        shownRuns().map((run) => [
          row.name,
          row.title,
          row.group,
          row.count,
          page.runs[run],
          state.view,
          numberOf("top", run, row.index),
          numberOf("bottom", run, row.index),
          verdictOf(run, row.index)?.name ?? "",
        ]),
      ),
    ];
  }

  return { buildStrip };
})(landscape);

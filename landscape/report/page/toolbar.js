// The bar that stays in sight: which split, which subset, which runs, light or dark.

landscape.toolbar = (({
  controls: { follow, segments },
  element: { element },
  page_data: { page },
  picker: { picker },
  state: { change, state, whenever },
  subsets: { rows },
  theme: { SIGNS, applyTheme, isDark },
}) => {
  function buildToolbar() {
    const inner = element("div", { class: "inner" });
    if (page.views.length)
      inner.append(
        element(
          "span",
          { class: "field" },
          "Split",
          segments(
            "Split",
            "view",
            page.views.map((view) => [view.name, view.name]),
          ),
        ),
      );
    inner.append(element("span", { class: "field" }, "Subset", picker("Subset", "row")), pinButton());
    const chips = element("span", { class: "field" });
    chips.append(...page.runs.map(runChip));
    inner.append(chips, themeButton());
    document.getElementById("toolbar").append(inner);
    whenever(["row", "view"], () => {
      document.getElementById("announce").textContent = `${rows[state.row].title}, ${state.view}`;
    });
  }

  function pinButton() {
    const button = element("button", {
      type: "button",
      class: "button",
      id: "pin",
      onclick: () => change({ pin: state.pin === state.row ? -1 : state.row }),
    });
    const show = () => {
      const pinned = state.pin >= 0;
      button.textContent = pinned && state.pin === state.row ? "Unpin" : "Pin to compare";
      button.title = pinned
        ? `compared with ${rows[state.pin].title}`
        : "keep this subset in the spectrum and the surfaces while choosing another";
      button.setAttribute("aria-pressed", String(pinned));
    };
    show();
    whenever(["pin", "row"], show);
    return button;
  }

  function runChip(name, run) {
    const sign = element("span", { class: `run-${page.colors[run]}`, "aria-hidden": "true" }, SIGNS[run % 8]);
    const chip = element(
      "button",
      { type: "button", class: "chip", title: `show or hide ${name}`, "data-run": run },
      sign,
      element("span", {}, name),
    );
    chip.addEventListener("click", () => {
      const hidden = state.hidden.includes(run)
        ? state.hidden.filter((other) => other !== run)
        : [...state.hidden, run].sort();
      if (hidden.length < page.runs.length) change({ hidden });
    });
    follow("hidden", () => chip.setAttribute("aria-pressed", String(!state.hidden.includes(run))));
    return chip;
  }

  function themeButton() {
    const button = element("button", {
      type: "button",
      class: "button push",
      id: "theme",
      onclick: () => change({ theme: isDark() ? "light" : "dark" }),
    });
    follow("theme", () => {
      applyTheme();
      button.textContent = isDark() ? "☀ Light" : "☾ Dark";
    });
    return button;
  }

  return { buildToolbar };
})(landscape);

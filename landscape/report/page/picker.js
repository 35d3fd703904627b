// Choosing a subset by name: previous, next, and a box that searches as one types (a WAI-ARIA combobox).

landscape.picker = (({
  controls: { follow },
  element: { element },
  format: { grouped },
  state: { change, state },
  subsets: { rows },
}) => {
  const MOST_OFFERED = 60;

  function picker(label, key) {
    const step = (by) => change({ [key]: (state[key] + by + rows.length) % rows.length });
    const list = element("ul", { role: "listbox", id: `${key}-list`, hidden: true, "aria-label": label });
    const input = element("input", {
      type: "search",
      role: "combobox",
      "aria-label": label,
      "aria-expanded": "false",
      "aria-controls": list.id,
      "aria-autocomplete": "list",
      autocomplete: "off",
      spellcheck: "false",
      "data-key": key,
    });
    let offered = [];
    let at = 0;

    const mark = () => {
      [...list.children].forEach((item, i) => {
        item.setAttribute("aria-selected", String(i === at));
      });
      input.setAttribute("aria-activedescendant", offered.length ? `${key}-${at}` : "");
      if (offered.length) list.children[at].scrollIntoView({ block: "nearest" });
    };
    const open = (text) => {
      const wanted = text.trim().toLowerCase();
      offered = rows
        .filter((row) => !wanted || row.title.toLowerCase().includes(wanted) || row.name.includes(wanted))
        .slice(0, MOST_OFFERED);
      at = Math.max(
        0,
        offered.findIndex((row) => row.index === state[key]),
      );
      list.replaceChildren(
        ...offered.map((row, i) =>
          element(
            "li",
            {
              role: "option",
              id: `${key}-${i}`,
              title: row.title,
              onmousedown: (event) => {
                event.preventDefault();
                take(i);
              },
            },
            element("span", {}, row.title),
            element("span", {}, `${grouped(row.count)} ${row.group}`),
          ),
        ),
      );
      if (!offered.length) list.append(element("li", {}, element("span", {}, "no subset of that name")));
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      mark();
    };
    const close = () => {
      list.hidden = true;
      input.setAttribute("aria-expanded", "false");
      input.value = rows[state[key]]?.title ?? "";
    };
    const take = (i) => {
      if (offered[i]) change({ [key]: offered[i].index });
      close();
    };

    input.addEventListener("focus", () => {
      input.select();
      open("");
    });
    input.addEventListener("input", () => open(input.value));
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      const moves = { ArrowDown: 1, ArrowUp: -1 };
      if (event.key in moves) {
        event.preventDefault();
        if (list.hidden) open("");
        else {
          at = Math.min(Math.max(at + moves[event.key], 0), Math.max(offered.length - 1, 0));
          mark();
        }
      } else if (event.key === "Enter") {
        event.preventDefault();
        if (!list.hidden) take(at);
      } else if (event.key === "Escape") close();
    });
    follow(key, close);
    return element(
      "span",
      { class: "picker" },
      element(
        "button",
        {
          type: "button",
          class: "button",
          "aria-label": "previous subset",
          title: "previous (key [)",
          onclick: () => step(-1),
        },
        "‹",
      ),
      input,
      element(
        "button",
        { type: "button", class: "button", "aria-label": "next subset", title: "next (key ])", onclick: () => step(1) },
        "›",
      ),
      list,
    );
  }

  document.addEventListener("keydown", (event) => {
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)
    )
      return;
    if (event.key === "[") change({ row: (state.row + rows.length - 1) % rows.length });
    if (event.key === "]") change({ row: (state.row + 1) % rows.length });
  });

  return { picker };
})(landscape);

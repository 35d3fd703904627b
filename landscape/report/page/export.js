// Taking a panel away: its picture as PNG or SVG, its numbers as CSV.

landscape.export = (({ element: { element }, theme: { ink } }) => {
  function download(name, content, type) {
    const link = element("a", {
      download: name,
      href:
        typeof content === "string" && content.startsWith("data:")
          ? content
          : URL.createObjectURL(new Blob([content], { type })),
    });
    link.click();
    if (link.href.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // RFC 4180; a leading =, +, - or @ in a name would run as a formula in a spreadsheet, so text that begins so is quoted.
  function csvCell(cell) {
    if (typeof cell === "number")
      return Number.isFinite(cell)
        ? String(Number(cell.toPrecision(7)))
        : Number.isNaN(cell)
          ? "nan"
          : cell > 0
            ? "inf"
            : "-inf";
    const text = String(cell ?? "");
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  const csvOf = (table) => `${table.map((line) => line.map(csvCell).join(",")).join("\r\n")}\r\n`;

  // A menu at the panel's head; `target` gives the Plotly element (none for tables), `numbers` the lines of the CSV.
  function exportMenu(id, target, numbers) {
    const menu = element(
      "details",
      { class: "exports" },
      element("summary", { class: "button", "aria-label": `Save ${id}` }, "Save"),
    );
    const offer = (label, act) =>
      element(
        "button",
        {
          type: "button",
          "data-save": label,
          onclick: () => {
            menu.open = false;
            act();
          },
        },
        label,
      );
    const picture = (format) => async () => {
      const { width, height } = target().getBoundingClientRect();
      const image = await Plotly.toImage(opaque(target()), { format, width, height, scale: format === "png" ? 2 : 1 });
      download(`${id}.${format}`, image, "");
    };
    const list = element("div", {});
    if (target) list.append(offer("PNG", picture("png")), offer("SVG", picture("svg")));
    list.append(offer("CSV", () => download(`${id}.csv`, csvOf(numbers()), "text/csv")));
    menu.append(list);
    menu.addEventListener("focusout", (event) => {
      if (!menu.contains(event.relatedTarget)) menu.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        menu.open = false;
        menu.firstChild.focus();
      }
    });
    return menu;
  }

  // On the page charts are transparent; a picture that leaves it carries its ground along.
  function opaque(plot) {
    return { data: plot.data, layout: { ...plot.layout, paper_bgcolor: ink("card") } };
  }

  return { exportMenu };
})(landscape);

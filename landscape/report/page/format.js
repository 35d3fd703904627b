// Figures and names as a reader sees them, and as Plotly's pseudo-HTML must be told them.

landscape.format = (({ page_data: { constants } }) => {
  const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

  function power(exponent) {
    return `10${[...String(exponent)].map((letter) => SUPERSCRIPTS[letter]).join("")}`;
  }

  // Thousands apart by commas; by hand, since toLocaleString takes 30 times as long and surfaces ask for 10,000 numbers.
  function grouped(value) {
    const text = String(value);
    return Math.abs(value) < 1000 ? text : text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  }

  // Three significant digits with a true minus sign: 0.0213, 41.2, 1,830, 2.1 × 10⁻⁶.
  function figure(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    if (value === 0) return "0";
    const exponent = Math.floor(Math.log10(Math.abs(Number(value.toExponential(2)))));
    const text =
      exponent < -3 || exponent > 5
        ? `${Number((value / 10 ** exponent).toFixed(1))} × ${power(exponent)}`.replace(/^(-?)1 × /, "$1")
        : grouped(Number(value.toFixed(Math.max(0, 2 - exponent))));
    return text.replace("-", "−");
  }

  const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–");
  const shownValue = (measure, value) => (measure.percent ? percent(value) : figure(value));

  // A measure's value at a row of its column, with its interval where there is one: 8.4 (3.1 to 14).
  function shownWithin(measure, { v, lo, hi }, row) {
    const span =
      lo && Number.isFinite(lo[row]) ? ` (${shownValue(measure, lo[row])} to ${shownValue(measure, hi[row])})` : "";
    return `${shownValue(measure, v[row])}${span}`;
  }

  // How many times a figure grew or shrank, always a number above one.
  function factor(ratio) {
    if (!Number.isFinite(ratio) || ratio <= 0) return "";
    if (ratio > 1 / constants.same && ratio < constants.same) return "=";
    const size = ratio > 1 ? ratio : 1 / ratio;
    const digits = size < 2 ? size.toFixed(2) : size < 10 ? size.toFixed(1) : figure(Number(size.toPrecision(2)));
    return `${ratio > 1 ? "×" : "÷"}${digits}`;
  }

  const cut = (name, most) => ([...name].length > most ? `${[...name].slice(0, most - 1).join("")}…` : name);
  const plotlyText = (name) => name.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const shownName = (name, most = 28) => plotlyText(cut(name, most));

  return { grouped, figure, percent, shownValue, shownWithin, factor, cut, plotlyText, shownName };
})(landscape);

// A chart that is read by the keyboard: arrows go from point to point, which is named aloud; Enter chooses it.

landscape.chart_keys = (() => {
  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const plain = (text) => text.replace(/<br>/g, ", ").replace(/<[^>]*>/g, "");

  // The points of a plot, a line a trace (a line of cells in a grid): {curveNumber, pointNumber, text}.
  function linesOf(plot) {
    return plot.data.flatMap((trace, curveNumber) => {
      if (trace.visible === false || trace.hoverinfo === "skip" || !Array.isArray(trace.text)) return [];
      const told = trace.type === "scatter" && trace.hovertext ? trace.hovertext : trace.text;
      const known = ({ text, value }) => text && value !== null && value !== undefined && !Number.isNaN(value);
      const lines = Array.isArray(told[0])
        ? told.map((texts, row) =>
            texts.map((text, column) => ({ text, value: trace.z[row][column], pointNumber: [row, column] })),
          )
        : [told.map((text, i) => ({ text, value: trace.y[i], pointNumber: i }))];
      return lines
        .map((line) => line.filter(known).map((point) => ({ ...point, curveNumber })))
        .filter((line) => line.length);
    });
  }

  // `reset` puts the view back, as the key 0 does.
  function readByKeys(plot, reset) {
    let at = null;
    plot.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "0") reset();
      const lines = linesOf(plot);
      if (!lines.length || !(event.key in STEPS || event.key === "Enter")) return;
      event.preventDefault();
      if (event.key === "Enter") {
        const point = at && lines[at[0]]?.[at[1]];
        if (point) plot.emit("plotly_click", { points: [pointOf(plot, point)] });
        return;
      }
      const [down, right] = STEPS[event.key];
      const line = at ? Math.min(Math.max(at[0] + down, 0), lines.length - 1) : 0;
      at = [line, at ? Math.min(Math.max(at[1] + right, 0), lines[line].length - 1) : 0];
      show(plot, lines[at[0]][at[1]]);
    });
    plot.addEventListener("blur", () => {
      at = null;
      if (plot.layout.xaxis) Plotly.Fx.unhover(plot);
    });
  }

  function pointOf({ data }, { curveNumber, pointNumber }) {
    return { curveNumber, pointIndex: pointNumber, customdata: data[curveNumber].customdata?.[pointNumber] };
  }

  function show(plot, { curveNumber, pointNumber, text }) {
    const { xaxis = "x", yaxis = "y", type } = plot.data[curveNumber];
    document.getElementById("announce").textContent = plain(text);
    if (type.endsWith("3d")) return;
    Plotly.Fx.hover(plot, [{ curveNumber, pointNumber }], `${xaxis}${yaxis}`);
  }

  return { readByKeys };
})();

// The cross-class matrix vᵢᵀ H_c vᵢ: how sharply class c is curved along the sharpest direction of class i.

function buildMatrix() {
  const known = page.runs.map((_, run) => run).filter((run) => page.views.some((view) => view.cross[run]));
  if (!known.length) {
    document.getElementById("matrix").hidden = true;
    return;
  }
  if (!known.includes(Number(state.matrixRun))) state.matrixRun = String(known[0]);
  controlsOf("matrix").append(select("Run", "matrixRun", [["", known.map((run) => [String(run), page.runs[run]])]]));
  const panel = chart("matrix", ["view", "row", "matrixRun"], drawMatrix, matrixNumbers);
  panel.bind = (plot) => plot.on("plotly_click", ({ points }) => choose(crossOf().rows[points[0].pointIndex[1]]));
}

const crossOf = () => currentView()?.cross[Number(state.matrixRun)];

function drawMatrix(width) {
  const found = crossOf();
  if (!found) return { empty: `No cross-class curvature of ${page.runs[Number(state.matrixRun)]} on the ${state.view} split.` };
  const size = found.rows.length;
  const values = unpack(found.v);
  const scale = signed(kneeOf(Array.from(values)));
  const heights = Array.from(values, scale.forward);
  const most = heights.reduce((p, q) => (Number.isFinite(q) ? Math.max(p, Math.abs(q)) : p), 0) || 1;
  const line = (i, from) => Array.from({ length: size }, (_, j) => from(i * size + j, i, j));
  const names = found.rows.map((row) => shownName(rows[row].title, 12));
  const told = (at, i, j) => `${shownName(rows[found.rows[j]].title)} along the sharpest<br>direction of ${shownName(rows[found.rows[i]].title)}: ${figure(values[at])}`;
  const places = found.rows.map((_, i) => i);
  const chosen = found.rows.indexOf(state.row);
  const ticks = size <= 40 ? { tickvals: places, ticktext: names } : { showticklabels: false };
  const range = [-0.5, size - 0.5];
  const frame = (more) => ({ type: "rect", line: { color: ink("ink"), width: 1.5 }, ...more });
  return {
    data: [{
      type: "heatmap", x: places, y: places, z: places.map((i) => line(i, (at) => (Number.isFinite(heights[at]) ? heights[at] : null))), text: places.map((i) => line(i, told)), hoverinfo: "text", hoverongaps: false,
      colorscale: diverging(), zmin: -most, zmax: most, xgap: size <= 40 ? 1 : 0, ygap: size <= 40 ? 1 : 0, colorbar: { thickness: 12, outlinewidth: 0, tickfont: { size: 0.74 * rem(), color: ink("soft") }, ...ticksOf(scale, -most, most) },
    }],
    layout: baseLayout({
      width, height: Math.max(380, Math.min(680, width * 0.86)), margin: { l: 90, r: 70, t: 20, b: 90 },
      xaxis: axis({ title: "curvature of class …", range, showgrid: false, constrain: "domain", tickangle: -45, ...ticks }),
      yaxis: axis({ title: "… along the direction of class", range: range.slice().reverse(), showgrid: false, scaleanchor: "x", constrain: "domain", ...ticks }),
      shapes: chosen < 0 ? [] : [frame({ x0: chosen - 0.5, x1: chosen + 0.5, y0: -0.5, y1: size - 0.5 }), frame({ x0: -0.5, x1: size - 0.5, y0: chosen - 0.5, y1: chosen + 0.5 })],
    }),
    caption: `A column shows one class, a line one direction: v_iᵀ H_c v_i with v_i the sharpest direction of class i, for ${page.runs[Number(state.matrixRun)]}. Off-diagonal orange means that classes share sharp directions; blue that one class falls where another rises.`,
    label: `Cross-class curvature of ${size} classes`,
  };
}

function matrixNumbers() {
  const found = crossOf();
  if (!found) return [["direction", "class", "curvature"]];
  const values = unpack(found.v);
  return [["run", "direction", "class", "curvature"], ...Array.from(values, (value, at) => [page.runs[Number(state.matrixRun)], rows[found.rows[Math.floor(at / found.rows.length)]].name, rows[found.rows[at % found.rows.length]].name, value])];
}

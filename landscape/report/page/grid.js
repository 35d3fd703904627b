// One loss surface as a grid to draw: which plane, which quantity, how its values map to heights and colors.

landscape.grid = (({
  page_data: { constants, page },
  scales: { LINEAR, LOG, kneeOf, signed },
  state: { state },
  unpack: { unpack },
}) => {
  const QUANTITIES = {
    loss: { title: "loss", words: "loss", of: (plane, at) => unpack(plane.loss[at]) },
    rise: { title: "rise above the center", words: "loss above its value at the center", of: riseOf },
    accuracy: {
      title: "accuracy",
      words: "accuracy",
      of: (plane, at) => (plane.accuracy ? unpack(plane.accuracy[at]) : null),
      percent: true,
    },
    se: {
      title: "standard error of the loss",
      words: "standard error of the loss",
      of: (plane, at) => (plane.se ? unpack(plane.se[at]) : null),
    },
  };

  const planeNames = [...new Set(page.surfaces.flat().map((plane) => plane.name))];

  const EVERY_RANDOM = "*random";
  const severalRandom = page.surfaces.some((planes) => planes.filter(({ plane }) => plane === "random").length > 1);

  // The random planes of a run on the samples of the view; on all samples where the view has none.
  function random(planes) {
    const every = planes.filter(({ plane }) => plane === "random");
    const own = every.filter(({ split }) => split === state.view);
    return own.length ? own : every;
  }

  // The planes a run shows: the chosen one, all random ones, else the one named after the split, else its first.
  function planesOf(run) {
    const planes = page.surfaces[run];
    if (state.plane === EVERY_RANDOM) return random(planes);
    if (state.plane) return planes.filter(({ name }) => name === state.plane);
    return [planes.find(({ name }) => name === state.view) ?? planes[0]].filter(Boolean);
  }

  function centerOf(plane) {
    const nearest = (ticks) =>
      ticks.reduce((best, value, i) => (Math.abs(value) < Math.abs(ticks[best]) ? i : best), 0);
    const [a, b] = [unpack(plane.a), unpack(plane.b)];
    return nearest(b) * a.length + nearest(a);
  }

  function riseOf(plane, at) {
    const loss = unpack(plane.loss[at]);
    const center = loss[centerOf(plane)];
    return loss.map((value) => value - center);
  }

  // {plane, a, b, values} of a run and row in the chosen quantity, one for each plane that it shows.
  function gridsOf(run, row) {
    return planesOf(run).flatMap((plane) => {
      const at = plane.rows.indexOf(row);
      const values = at < 0 ? null : QUANTITIES[state.quantity].of(plane, at);
      if (!values) return [];
      const error = plane.error ? unpack(plane.error[at]) : null;
      return [{ run, row, plane, a: unpack(plane.a), b: unpack(plane.b), values, status: unpack(plane.status), error }];
    });
  }

  // Second minus first, where both lie over the very same points of weight space; else null.
  function differenceOf(first, second) {
    const same = (p, q) =>
      p.length === q.length && p.every((value, i) => Math.abs(value - q[i]) < 1e-6 * (1 + Math.abs(value)));
    if (first.plane.identity !== second.plane.identity) return null;
    if (!same(first.a, second.a) || !same(first.b, second.b)) return null;
    return { ...second, values: second.values.map((value, i) => value - first.values[i]), status: null, error: null };
  }

  // Heights follow the logarithm where asked and sensible: plain for losses, signed for what can be negative.
  function heightScale(grids, diverges) {
    if (!state.log || state.quantity === "accuracy") return LINEAR;
    const values = grids.flatMap((grid) => Array.from(grid.values));
    return diverges || state.quantity === "rise" ? signed(kneeOf(values)) : LOG;
  }

  // The shared color range: all finite heights up to the clip's quantile; centered on 0 for differences.
  function rangeOf(grids, scale, diverges) {
    const heights = grids
      .flatMap((grid) => Array.from(grid.values, scale.forward))
      .filter((z) => z !== null && Number.isFinite(z))
      .sort((p, q) => p - q);
    if (!heights.length) return null;
    if (diverges) {
      const sizes = heights.map(Math.abs).sort((p, q) => p - q);
      const most = sizes[Math.round((sizes.length - 1) * (state.clip / 100))] || 1;
      return [-most, most];
    }
    const high = heights[Math.round((heights.length - 1) * (state.clip / 100))];
    return high > heights[0] ? [heights[0], high] : [heights[0] - 0.5, heights[0] + 0.5];
  }

  // Values as rows of heights for Plotly; what is not finite is a hole.
  function heightsOf(grid, scale, most = Infinity) {
    const width = grid.a.length;
    return Array.from({ length: grid.b.length }, (_, i) =>
      Array.from(grid.values.subarray(i * width, (i + 1) * width), (value) => {
        const z = scale.forward(value);
        return z === null || !Number.isFinite(z) || z > most ? null : z;
      }),
    );
  }

  // The grid as triangles {x, y, z, i, j, k, text}, two a cell; cells with a hole at a corner are left open.
  function meshOf(grid, heights, texts) {
    const mesh = { x: [], y: [], z: [], i: [], j: [], k: [], text: [] };
    const place = heights.map((line, row) =>
      line.map((z, column) => {
        if (z === null) return -1;
        mesh.x.push(grid.a[column]);
        mesh.y.push(grid.b[row]);
        mesh.z.push(z);
        return mesh.text.push(texts[row][column]) - 1;
      }),
    );
    const triangle = (...corners) => {
      if (corners.some((corner) => corner < 0)) return;
      ["i", "j", "k"].forEach((name, at) => {
        mesh[name].push(corners[at]);
      });
    };
    for (let row = 0; row + 1 < place.length; row += 1) {
      for (let column = 0; column + 1 < place[row].length; column += 1) {
        const [p, q, r, s] = [
          place[row][column],
          place[row][column + 1],
          place[row + 1][column],
          place[row + 1][column + 1],
        ];
        triangle(p, q, r);
        triangle(q, s, r);
      }
    }
    return mesh;
  }

  // Coordinates of the cells that satisfy `wanted(status, value)`.
  function cellsWhere(grid, wanted) {
    const x = [];
    const y = [];
    grid.values.forEach((value, i) => {
      if (!wanted(grid.status ? grid.status[i] : constants.status.measured, value)) return;
      x.push(grid.a[i % grid.a.length]);
      y.push(grid.b[Math.floor(i / grid.a.length)]);
    });
    return { x, y };
  }

  // Whether any two runs have surfaces over the same points: runs with weights of their own have none.
  function sharedPlanes() {
    const identities = page.surfaces.flatMap((planes) => [...new Set(planes.map((plane) => plane.identity))]);
    return new Set(identities).size < identities.length;
  }

  return {
    QUANTITIES,
    centerOf,
    sharedPlanes,
    EVERY_RANDOM,
    planeNames,
    severalRandom,
    gridsOf,
    differenceOf,
    heightScale,
    rangeOf,
    heightsOf,
    meshOf,
    cellsWhere,
  };
})(landscape);

// Axes: linear, logarithmic, and "signed" (linear around zero, logarithmic beyond), with ticks that name real values.

landscape.scales = (({ format: { figure } }) => {
  const LINEAR = { forward: (x) => x, backward: (x) => x, name: "linear" };
  const LOG = { forward: (x) => (x > 0 ? Math.log10(x) : null), backward: (x) => 10 ** x, name: "log" };

  // The inverse hyperbolic sine bends at `knee`: below it values stay linear, above it each decade takes one step.
  function signed(knee) {
    const forward = (x) => (Number.isNaN(x) ? null : Math.asinh(x / knee) / Math.LN10);
    return { forward, backward: (x) => knee * Math.sinh(x * Math.LN10), knee, name: "signed" };
  }

  // A knee for values of any size: a hundredth of the median size, but no more than five decades below the largest.
  function kneeOf(values) {
    const sizes = values
      .filter((x) => Number.isFinite(x) && x !== 0)
      .map(Math.abs)
      .sort((p, q) => p - q);
    if (!sizes.length) return 1;
    const knee = Math.max(sizes[Math.floor(sizes.length / 2)] / 100, sizes[sizes.length - 1] * 1e-5);
    return 10 ** Math.round(Math.log10(knee));
  }

  // Ticks at powers of ten (and 2 and 5 of them where there is room) as {tickvals, ticktext} in the scale's own units.
  function ticksOf(scale, low, high) {
    if (scale.name === "linear") return {};
    const ticks = new Map();
    const add = (value) => {
      const place = scale.forward(value);
      if (place !== null && place >= low - 1e-9 && place <= high + 1e-9) ticks.set(value, place);
    };
    const span = high - low;
    const sizes = span < 1.2 ? [1, 2, 3, 5, 7] : span < 2.5 ? [1, 2, 5] : [1];
    const stride = Math.max(1, Math.ceil(span / 8));
    const ends = [low, high].map(scale.backward);
    const least = scale.knee ? scale.knee * 2 : ends[0];
    const most = Math.max(...ends.map(Math.abs));
    for (let exponent = Math.floor(Math.log10(least)); exponent <= Math.ceil(Math.log10(most)); exponent += 1) {
      if (sizes.length === 1 && exponent % stride) continue;
      if (scale.knee && 10 ** exponent < least) continue;
      for (const size of sizes) {
        add(size * 10 ** exponent);
        if (scale.knee) add(-size * 10 ** exponent);
      }
    }
    if (scale.knee) add(0);
    if (ticks.size < 2)
      for (const share of [0.1, 0.5, 0.9]) add(Number(scale.backward(low + share * span).toPrecision(3)));
    const sorted = [...ticks].sort((p, q) => p[1] - q[1]);
    return { tickvals: sorted.map((tick) => tick[1]), ticktext: sorted.map((tick) => figure(tick[0])) };
  }

  // The ends of values with some room around them.
  function padded(values) {
    if (!values.length) return [0, 1];
    const low = values.reduce((p, q) => Math.min(p, q));
    const high = values.reduce((p, q) => Math.max(p, q));
    const pad = (high - low || Math.abs(high) || 1) * 0.07;
    return [low - pad, high + pad];
  }

  return { LINEAR, LOG, signed, kneeOf, ticksOf, padded };
})(landscape);

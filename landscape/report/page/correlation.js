// Spearman's rank correlation with ties, and its 95 % interval.

landscape.correlation = (({ page_data: { constants } }) => {
  function ranksOf(values) {
    const order = values.map((_, i) => i).sort((p, q) => values[p] - values[q]);
    const ranks = new Array(values.length);
    for (let i = 0; i < order.length; ) {
      let end = i;
      while (end + 1 < order.length && values[order[end + 1]] === values[order[i]]) end += 1;
      for (let j = i; j <= end; j += 1) ranks[order[j]] = (i + end) / 2;
      i = end + 1;
    }
    return ranks;
  }

  function pearson(x, y) {
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [mx, my] = [mean(x), mean(y)];
    let [xy, xx, yy] = [0, 0, 0];
    x.forEach((value, i) => {
      xy += (value - mx) * (y[i] - my);
      xx += (value - mx) ** 2;
      yy += (y[i] - my) ** 2;
    });
    return xx && yy ? xy / Math.sqrt(xx * yy) : NaN;
  }

  // {rho, n, low, high}; the interval is Fieller, Hartley and Pearson's (Biometrika 44, 1957): Fisher's z with variance 1.06 / (n − 3).
  function spearman(x, y) {
    const known = x.map((_, i) => i).filter((i) => Number.isFinite(x[i]) && Number.isFinite(y[i]));
    const rho = known.length > 2 ? pearson(ranksOf(known.map((i) => x[i])), ranksOf(known.map((i) => y[i]))) : NaN;
    const half = constants.z95 * Math.sqrt(1.06 / (known.length - 3));
    const z = Math.atanh(rho);
    return { rho, n: known.length, low: Math.tanh(z - half), high: Math.tanh(z + half) };
  }

  return { spearman };
})(landscape);

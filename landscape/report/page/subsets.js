// The page's subsets as rows, their classes and groups, and its measures by key.

landscape.subsets = (({ page_data: { page }, unpack: { unpack } }) => {
  const rows = page.rows.title.map((title, index) => ({
    index,
    title,
    name: page.rows.name[index],
    kind: page.rows.kind[index],
    group: page.rows.group[index],
    count: unpack(page.rows.count)[index],
  }));
  rows.forEach((row, index) => {
    const same = rows.slice(0, rows.length > 500 ? 0 : index).filter((other) => other.name === row.name).length;
    row.key = same ? `${row.name}~${same}` : row.name;
  });
  const classes = rows.filter((row) => row.kind === "class");
  const groups = rows.filter((row) => row.kind !== "class");
  const rankOf = new Map(classes.map((row, rank) => [row.index, rank]));
  const measureOf = new Map(page.measures.map((measure) => [measure.key, measure]));

  return { rows, classes, groups, rankOf, measureOf };
})(landscape);

// What the page shows, kept in the address after `#` so that a view can be shared, and who is told when it changes.

landscape.state = (({ page_data: { page }, subsets: { classes, groups, measureOf, rows } }) => {
  const DEFAULTS = {
    view: page.views.length ? page.views[0].name : "",
    row: Math.max(0, (groups.find((row) => row.name === "few") || rows[0]).index),
    pin: -1,
    hidden: [],
    y: measureOf.has("top") ? "top" : page.measures.length ? page.measures[0].key : "",
    x: "rank",
    errors: true,
    spectrum: "counts",
    plane: "",
    form: "contour",
    quantity: "loss",
    log: true,
    clip: 100,
    points: false,
    path: true,
    difference: false,
    sort: "",
    list: classes.length > 60 ? "groups" : "all",
    find: "",
    curve: "accuracy",
    track: "top",
    moment: "",
    when: 100,
    matrix: "cross",
    matrixRun: "0",
    line: "",
    along: "loss",
    theme: "",
  };
  const ROW_KEYS = ["row", "pin"];
  const state = { ...DEFAULTS };
  const allowed = {};
  const listeners = [];

  // What `key` may be on this page; anything else, in a later address too, is the default.
  function allow(key, values) {
    allowed[key] = values;
    if (!values.includes(DEFAULTS[key])) DEFAULTS[key] = values[0];
    if (!values.includes(state[key])) state[key] = DEFAULTS[key];
  }

  // `act(changed)` runs after every change that touches one of `keys`.
  function whenever(keys, act) {
    listeners.push({ keys, act });
  }

  function change(patch) {
    const changed = Object.keys(patch).filter((key) => JSON.stringify(patch[key]) !== JSON.stringify(state[key]));
    if (!changed.length) return;
    Object.assign(state, patch);
    history.replaceState(null, "", addressOf());
    tell(changed);
  }

  function tell(changed) {
    for (const { keys, act } of listeners) if (keys.some((key) => changed.includes(key))) act(changed);
  }

  function addressOf() {
    const words = new URLSearchParams();
    for (const key of Object.keys(DEFAULTS)) {
      if (JSON.stringify(state[key]) === JSON.stringify(DEFAULTS[key])) continue;
      words.set(key, ROW_KEYS.includes(key) ? (rows[state[key]]?.key ?? "") : String(state[key]));
    }
    return `#${words}`;
  }

  // Reads the address; words it does not know, and values of the wrong kind, leave the defaults.
  function readAddress() {
    const words = new URLSearchParams(location.hash.slice(1));
    const read = { ...DEFAULTS };
    for (const [key, text] of words) {
      if (!(key in DEFAULTS)) continue;
      const usual = DEFAULTS[key];
      if (ROW_KEYS.includes(key)) read[key] = rows.findIndex((row) => row.key === text);
      else if (Array.isArray(usual))
        read[key] = text
          .split(",")
          .filter(Boolean)
          .map(Number)
          .filter((run) => run < page.runs.length);
      else if (typeof usual === "boolean") read[key] = text === "true";
      else if (typeof usual === "number") read[key] = Number.isFinite(Number(text)) ? Number(text) : usual;
      else read[key] = text;
    }
    if (read.row < 0) read.row = DEFAULTS.row;
    if (!measureOf.has(read.y)) read.y = DEFAULTS.y;
    if (read.x !== "rank" && !measureOf.has(read.x)) read.x = DEFAULTS.x;
    if (!page.views.some((view) => view.name === read.view)) read.view = DEFAULTS.view;
    for (const [key, values] of Object.entries(allowed)) if (!values.includes(read[key])) read[key] = DEFAULTS[key];
    const changed = Object.keys(read).filter((key) => JSON.stringify(read[key]) !== JSON.stringify(state[key]));
    Object.assign(state, read);
    tell(changed);
  }

  const choose = (row) => change({ row });

  return { state, allow, whenever, change, tell, readAddress, choose };
})(landscape);

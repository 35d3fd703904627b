// The small controls: segments, selects, ticks and sliders, each bound to one key of the state.

landscape.controls = (({ element: { element }, page_data: { page }, state: { change, state, whenever } }) => {
  const follow = (key, act) => {
    act();
    whenever([key], act);
  };

  function segments(label, key, options) {
    const group = element("div", { class: "segments", role: "group", "aria-label": label });
    for (const [value, text] of options) {
      const button = element(
        "button",
        { type: "button", "data-value": value, onclick: () => change({ [key]: value }) },
        text,
      );
      group.append(button);
      follow(key, () => button.setAttribute("aria-pressed", String(state[key] === value)));
    }
    return group;
  }

  // `families` is a list of [heading, [[value, text], …]].
  function select(label, key, families) {
    const made = element("select", {
      "aria-label": label,
      "data-key": key,
      onchange: () => change({ [key]: made.value }),
    });
    for (const [heading, options] of families) {
      const list = options.map(([value, text]) => element("option", { value }, text));
      made.append(...(heading ? [element("optgroup", { label: heading }, ...list)] : list));
    }
    follow(key, () => {
      made.value = state[key];
    });
    return element("label", { class: "field" }, label, made);
  }

  function tick(label, key) {
    const box = element("input", { type: "checkbox", "data-key": key, onchange: () => change({ [key]: box.checked }) });
    follow(key, () => {
      box.checked = state[key];
    });
    return element("label", { class: "tick" }, box, label);
  }

  function slider(label, key, low, high) {
    const made = element("input", {
      type: "range",
      min: low,
      max: high,
      "data-key": key,
      oninput: () => change({ [key]: Number(made.value) }),
    });
    const shown = element("output", {});
    follow(key, () => {
      made.value = state[key];
      shown.textContent = `${state[key]} %`;
    });
    return element("label", { class: "field" }, label, made, shown);
  }

  // Measures by family, for a select.
  function measureFamilies() {
    const families = new Map();
    for (const measure of page.measures) {
      if (!families.has(measure.family)) families.set(measure.family, []);
      families.get(measure.family).push([measure.key, measure.title]);
    }
    return [...families];
  }

  function controlsOf(id) {
    return document.querySelector(`#${id} .controls`);
  }

  return { follow, segments, select, tick, slider, measureFamilies, controlsOf };
})(landscape);

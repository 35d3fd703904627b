// A Plotly panel: drawn when it comes into sight, redrawn when what it depends on changes, one panel after another.

landscape.plot_panel = (({
  chart_keys: { readByKeys },
  element: { element },
  export: { exportMenu },
  state: { whenever },
}) => {
  const panels = [];
  let working = false;

  // `build()` returns {data, layout, caption, label} or {empty}; `numbers()` the lines of its CSV. A panel with several
  // `stage`s keeps a plot for each and shows the last: what it took to make WebGL's is paid once.
  function chart(id, keys, build, numbers) {
    const section = document.getElementById(id);
    const panel = {
      id,
      section,
      body: section.querySelector(".body"),
      build,
      dirty: true,
      seen: false,
      drawn: null,
      stages: new Map(),
      resets: 0,
    };
    const reset = element(
      "button",
      { type: "button", class: "button reset", hidden: true, onclick: () => resetView(panel) },
      "Reset view",
    );
    section.querySelector(".save").append(
      reset,
      exportMenu(id, () => panel.drawn, numbers),
    );
    panels.push(panel);
    whenever([...keys, "theme"], () => {
      panel.dirty = true;
      panel.body.classList.add("busy");
      work();
    });
    sight.observe(panel.body);
    return panel;
  }

  const sight = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const panel = panels.find((candidate) => candidate.body === entry.target);
        panel.seen = entry.isIntersecting;
        if (panel.seen) work();
      }
    },
    { rootMargin: "300px" },
  );

  // Draws what is dirty and in sight, letting the browser paint in between.
  async function work() {
    if (working) return;
    working = true;
    try {
      for (let panel = next(); panel; panel = next()) {
        await new Promise((resume) => requestAnimationFrame(() => setTimeout(resume)));
        await draw(panel);
      }
    } finally {
      working = false;
    }
  }

  // The panel nearest to the middle of the window goes first: it is the one being looked at.
  function next() {
    const distance = ({ body }) => {
      const { top, bottom } = body.getBoundingClientRect();
      return Math.abs((top + bottom - window.innerHeight) / 2);
    };
    const waiting = panels.filter((panel) => panel.dirty && panel.seen);
    return waiting.sort((p, q) => distance(p) - distance(q))[0];
  }

  async function draw(panel) {
    panel.dirty = false;
    const { section, body } = panel;
    const built = panel.build(body.clientWidth || 800);
    section.querySelector(".caption").textContent = built.caption || "";
    if (built.empty) {
      for (const plot of panel.stages.values()) Plotly.purge(plot);
      panel.stages.clear();
      panel.drawn = null;
      body.replaceChildren(element("p", { class: "empty" }, built.empty));
    } else {
      const stage = built.stage ?? "";
      const fresh = !panel.stages.has(stage);
      if (fresh) panel.stages.set(stage, element("div", { role: "img", tabindex: 0 }));
      panel.drawn = panel.stages.get(stage);
      for (const plot of panel.stages.values()) plot.hidden = plot !== panel.drawn;
      if (fresh) body.replaceChildren(...panel.stages.values());
      panel.drawn.setAttribute("aria-label", built.label);
      const uirevision = `${built.layout.uirevision ?? section.dataset.drawn}/${panel.resets}`;
      await Plotly.react(
        panel.drawn,
        built.data,
        { ...built.layout, uirevision },
        {
          displayModeBar: false,
          responsive: false,
          scrollZoom: true,
          doubleClick: "reset",
          plotGlPixelRatio: Math.min(2, Math.max(1, window.devicePixelRatio)),
        },
      );
      if (fresh) bind(panel, panel.drawn);
      if (!built.layout.uirevision) section.querySelector(".reset").hidden = true;
    }
    body.classList.remove("busy");
    section.dataset.drawn = String(Number(section.dataset.drawn || 0) + 1);
  }

  // The wheel zooms a chart that was clicked, or with Ctrl or ⌘; else it scrolls the page, as a reader expects.
  function bind(panel, plot) {
    const wheel = (event) => {
      if (!event.ctrlKey && !event.metaKey && !plot.contains(document.activeElement)) event.stopPropagation();
    };
    plot.addEventListener("wheel", wheel, { capture: true });
    plot.addEventListener("pointerdown", () => plot.focus({ preventScroll: true }), { capture: true });
    plot.on("plotly_relayout", (changes) => {
      if (Object.keys(changes).some((key) => /range|camera/.test(key)))
        panel.section.querySelector(".reset").hidden = false;
    });
    readByKeys(plot, () => resetView(panel));
    if (panel.bind) panel.bind(plot);
  }

  function resetView(panel) {
    panel.resets += 1;
    if (panel.reset) panel.reset();
    panel.dirty = true;
    panel.section.querySelector(".reset").hidden = true;
    work();
  }

  // A half-wide panel without a neighbor takes the whole line.
  function spreadLonePanels() {
    const halves = [...document.querySelectorAll("main > .panel")].filter((section) => !section.hidden);
    halves.forEach((section, i) => {
      const half = (other) => other && !other.classList.contains("wide");
      if (half(section) && !half(halves[i + 1]) && !(half(halves[i - 1]) && !halves[i - 1].classList.contains("lone")))
        section.classList.add("wide", "lone");
    });
  }

  function redrawAll() {
    for (const panel of panels) panel.dirty = true;
    work();
  }

  // Printing shows every panel, also those nobody has scrolled to.
  function drawEverything() {
    for (const panel of panels) {
      panel.seen = true;
      draw(panel);
    }
  }

  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    redrawAll();
  });

  return { chart, spreadLonePanels, drawEverything };
})(landscape);

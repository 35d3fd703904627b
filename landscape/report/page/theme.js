// Light and dark: the page's CSS variables, and the Plotly layout that follows them.

landscape.theme = (({ page_data: { page }, state: { state } }) => {
  const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross", "star", "pentagon", "triangle-down"];
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "solid", "dash", "dot"];
  const SIGNS = ["●", "◆", "■", "▲", "✚", "★", "⬟", "▼"];
  const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

  const isDark = () => (state.theme ? state.theme === "dark" : systemDark.matches);
  let printing = false;

  // On paper colors are light, and charts are drawn as wide as the paper.
  function setPrinting(on) {
    printing = on;
    document.documentElement.toggleAttribute("data-printing", on);
    applyTheme();
  }

  function applyTheme() {
    document.documentElement.dataset.theme = isDark() && !printing ? "dark" : "light";
  }

  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const runText = (run) => ink(`run-text-${page.colors[run]}`);
  const runColor = (run) => ink(`run-${page.colors[run]}`);
  const diverging = () =>
    stops(document.documentElement.dataset.theme === "dark" ? page.palette.dark : page.palette.light);
  const sequential = () => stops(page.palette.sequential);
  const stops = (colors) => colors.map((color, i) => [i / (colors.length - 1), color]);

  function withAlpha(color, alpha) {
    return `${color}${Math.round(alpha * 255)
      .toString(16)
      .padStart(2, "0")}`;
  }

  const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

  function axis(more = {}) {
    return {
      gridcolor: ink("grid"),
      linecolor: ink("line"),
      zerolinecolor: ink("line"),
      zeroline: false,
      showline: false,
      tickfont: { size: 0.74 * rem(), color: ink("soft") },
      ticks: "",
      automargin: true,
      fixedrange: false,
      ...more,
      title: { text: more.title || "", font: { size: 0.8 * rem(), color: ink("soft") }, standoff: 10 },
    };
  }

  function baseLayout(more = {}) {
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: ink("font"), size: 0.8 * rem(), color: ink("ink") },
      margin: { l: 56, r: 16, t: 26, b: 44 },
      showlegend: false,
      legend: {
        orientation: "h",
        x: 0,
        xanchor: "left",
        y: 1,
        yanchor: "top",
        yref: "container",
        font: { size: 0.8 * rem() },
        itemclick: false,
        itemdoubleclick: false,
        bgcolor: "rgba(0,0,0,0)",
      },
      hovermode: "closest",
      dragmode: "pan",
      hoverlabel: {
        bgcolor: ink("card"),
        bordercolor: ink("line"),
        font: { family: ink("font"), size: 0.8 * rem(), color: ink("ink") },
        align: "left",
      },
      ...more,
    };
  }

  return {
    SYMBOLS,
    DASHES,
    SIGNS,
    systemDark,
    isDark,
    setPrinting,
    applyTheme,
    ink,
    runColor,
    runText,
    diverging,
    sequential,
    withAlpha,
    rem,
    axis,
    baseLayout,
  };
})(landscape);

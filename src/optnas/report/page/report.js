// Draws what the data elements hold, and nothing else: no number is computed here.
(() => {
  "use strict";
  const GREY = "#666666";
  const FONT = { family: "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif", size: 12, color: "#1d2530" };
  const CONFIG = { responsive: true, displaylogo: false, displayModeBar: window.matchMedia("(hover: hover)").matches ? "hover" : false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
  // A finger that scrolls the page must not zoom the chart.
  const DRAG = window.matchMedia("(pointer: coarse)").matches ? false : "zoom";

  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const faded = (colour, opacity) => {
    const part = (at) => parseInt(colour.slice(at, at + 2), 16);
    return `rgba(${part(1)}, ${part(3)}, ${part(5)}, ${opacity})`;
  };
  const pause = () => new Promise((resume) => setTimeout(resume, 0));

  const SYMBOLS = { o: "circle", s: "square", "^": "triangle-up", D: "diamond", v: "triangle-down", P: "cross", X: "x" };

  function layout(unit, range, x = "epoch") {
    return {
      margin: { l: 52, r: 12, t: 8, b: 40 },
      font: FONT,
      paper_bgcolor: "#ffffff",
      plot_bgcolor: "#ffffff",
      showlegend: false,
      hovermode: "closest",
      dragmode: DRAG,
      xaxis: { title: { text: x, standoff: 6 }, gridcolor: "#eceff2", zeroline: false, automargin: true },
      yaxis: { title: { text: unit, standoff: 6 }, gridcolor: "#eceff2", zeroline: false, automargin: true, ...(range ? { range } : {}) },
    };
  }

  const places = (curve) => curve.x.map((x) => x + curve.shift);

  function bandTrace(curve) {
    if (curve.bars) {
      const x = [], y = [];
      places(curve).forEach((at, place) => {
        if (curve.low[place] === null) return;
        x.push(at, at, null); y.push(curve.low[place], curve.high[place], null);
      });
      return { x, y, mode: "lines", type: "scatter", line: { width: 2.5, color: faded(curve.colour, 0.45) }, hoverinfo: "skip" };
    }
    const at = curve.x.map((_, place) => place).filter((place) => curve.low[place] !== null);
    const back = [...at].reverse();
    return {
      x: [...at, ...back].map((place) => curve.x[place]),
      y: [...at.map((place) => curve.low[place]), ...back.map((place) => curve.high[place])],
      fill: "toself", fillcolor: faded(curve.colour, 0.16), mode: "lines", line: { width: 0 },
      hoverinfo: "skip", type: "scatter",
    };
  }

  function seedTrace(curve, named) {
    const x = [], y = [], text = [], at = places(curve);
    for (const seed of curve.seeds) {
      seed.values.forEach((value, place) => {
        if (value === null) return;
        x.push(at[place]); y.push(value); text.push(`seed ${seed.seed}, run ${seed.run}<br>${named} ${curve.x[place]}`);
      });
      x.push(null); y.push(null); text.push("");
    }
    return {
      x, y, text, mode: curve.x.length > 1 ? "lines" : "markers", type: "scatter",
      line: { color: faded(curve.colour, 0.4), width: 0.8 }, marker: { color: faded(curve.colour, 0.5), size: 5 },
      hovertemplate: `${curve.label}<br>%{text}: %{y:.5g}<extra></extra>`,
    };
  }

  function meanTrace(curve, named) {
    const told = curve.x.map((x, place) => {
      const ends = curve.low[place] === null ? "" : ` [${curve.low[place]}, ${curve.high[place]}]`;
      const count = curve.n > 1 ? `, n = ${curve.counts[place]}` : "";
      return [`${named} ${x}`, `${ends}${count}`];
    });
    const points = curve.dash === "none", many = points && curve.x.length > 20;
    return {
      x: places(curve), y: curve.mean, customdata: told, type: "scatter", connectgaps: true,
      mode: points ? "markers" : curve.marker ? "lines+markers" : "lines",
      ...(points ? {} : { line: { color: curve.colour, width: 2.4, dash: curve.dash } }),
      marker: { color: curve.colour, symbol: SYMBOLS[curve.marker] || "circle", size: many ? 4 : 7, maxdisplayed: points ? 0 : 9, opacity: many ? 0.5 : 1 },
      hovertemplate: `<b>${curve.label}</b><br>%{customdata[0]}: %{y:.5g}%{customdata[1]}<extra></extra>`,
    };
  }

  function addLines(settings, lines) {
    settings.shapes = lines.flatMap((line) => [
      ...(line.band ? [{ type: "rect", xref: "paper", x0: 0, x1: 1, y0: line.band[0], y1: line.band[1], fillcolor: faded(GREY, 0.12), line: { width: 0 }, layer: "below" }] : []),
      { type: "line", xref: "paper", x0: 0, x1: 1, y0: line.value, y1: line.value, line: { color: GREY, width: 1.2, dash: line.dash }, layer: "below" },
    ]);
  }

  function drawPanel(place, panel, last) {
    if (panel.grid) return drawGrid(place, panel, last);
    const traces = [], labels = [];
    for (const make of [bandTrace, seedTrace, meanTrace]) {
      for (const curve of panel.curves) {
        traces.push(make(curve, panel.x));
        labels.push(curve.label);
      }
    }
    const range = panel.range && panel.log ? panel.range.map(Math.log10) : panel.range;
    const settings = layout(panel.unit, range, panel.x);
    if (panel.log) settings.yaxis.type = "log";
    else if (panel.range && panel.range[0] < 0 && panel.range[1] > 0) Object.assign(settings.yaxis, { zeroline: true, zerolinecolor: "#9aa3ad", zerolinewidth: 1 });
    if (panel.ticks.length) Object.assign(settings.xaxis, { tickvals: panel.ticks.map((_, at) => at), ticktext: panel.ticks });
    const last_x = Math.max(...panel.curves.map((curve) => curve.x[curve.x.length - 1]));
    if (panel.x === "epoch" && (last_x < 8 || panel.curves.some((curve) => curve.shift))) settings.xaxis.dtick = 1;
    addLines(settings, panel.lines);
    place.labels = labels;
    return Plotly.newPlot(place, traces, settings, CONFIG);
  }

  function drawGrid(place, panel, last) {
    const settings = layout(panel.unit, null, panel.x), grid = panel.grid;
    const map = {
      x: grid.axis, y: grid.axis, z: grid.values, type: "heatmap", colorscale: grid.colours[0].toUpperCase() + grid.colours.slice(1),
      zmin: panel.range[0], zmax: panel.range[1], showscale: last, colorbar: { title: { text: grid.unit, side: "right" }, thickness: 10 },
      hovertemplate: `${panel.title}<br>x %{x:.3g}, y %{y:.3g}: %{z:.2f}<extra></extra>`,
    };
    const contours = { x: grid.axis, y: grid.axis, z: grid.contours, type: "contour", ncontours: 7, contours: { coloring: "none", showlabels: true, labelfont: { size: 9, color: "#ffffff" } }, line: { color: "#ffffff", width: 1 }, showscale: false, hoverinfo: "skip" };
    const centre = { x: [0], y: [0], mode: "markers", type: "scatter", marker: { symbol: "cross-thin", size: 10, line: { width: 2, color: "#ffffff" } }, hoverinfo: "skip" };
    const way = { x: grid.way.map((point) => point[0]), y: grid.way.map((point) => point[1]), mode: "lines+markers", type: "scatter", line: { width: 2, color: "#d55e00" }, marker: { size: 5, color: "#d55e00", line: { width: 1, color: "#ffffff" } }, hovertemplate: "epoch %{pointNumber}: x %{x:.3g}, y %{y:.3g}<extra></extra>" };
    if (grid.way.length) {
      const half = (grid.axis[1] - grid.axis[0]) / 2, ends = [grid.axis[0] - half, grid.axis[grid.axis.length - 1] + half];
      settings.xaxis.range = ends; settings.yaxis.range = ends;
    }
    place.labels = [];
    return Plotly.newPlot(place, [map, ...(grid.contours.length ? [contours] : []), ...(grid.way.length ? [way] : []), centre], settings, CONFIG);
  }

  function listen(legend, plots) {
    for (const button of legend.querySelectorAll("button")) {
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        for (const plot of plots) {
          const hit = plot.labels.flatMap((label, at) => (label === button.dataset.label ? [at] : []));
          if (hit.length) Plotly.restyle(plot, { visible: shown }, hit);
        }
      });
    }
  }

  async function drawFigure(element) {
    const figure = read(`data-${element.dataset.figure}`);
    for (const place of element.querySelectorAll(".plot[data-panel]")) {
      const panels = figure.rows[place.dataset.row].panels, at = Number(place.dataset.panel);
      await drawPanel(place, panels[at], at === panels.length - 1);
      await pause();
    }
    for (const legend of element.querySelectorAll(".legend")) {
      listen(legend, element.querySelectorAll(`.plot[data-row="${legend.dataset.row}"]`));
    }
    element.dataset.drawn = "true";
  }

  function plotIn(parent, title) {
    const panel = document.createElement("div"), heading = document.createElement("h4"), plot = document.createElement("div");
    panel.className = "panel"; plot.className = "plot"; heading.textContent = title;
    panel.append(heading, plot);
    parent.append(panel);
    return plot;
  }

  function lines(run, named) {
    return named.map(({ label, values, colour, dash }) => ({
      x: run.epochs, y: values, name: label, mode: "lines", type: "scatter", connectgaps: true,
      line: { width: 2, color: colour, dash },
      hovertemplate: `${label} epoch %{x}: %{y:.5g}<extra></extra>`,
    }));
  }

  function addSlider(element, run) {
    const holder = element.querySelector(".slider"), drawing = element.querySelector("svg.cell").cloneNode(true);
    const label = document.createElement("label"), input = document.createElement("input");
    const strokes = drawing.querySelectorAll("path[data-edge]"), words = drawing.querySelectorAll("text[data-edge]");
    const scale = Number(drawing.dataset.stroke);
    input.type = "range"; input.min = 0; input.max = run.epochs.length - 1; input.value = input.max;
    const show = () => {
      const at = Number(input.value);
      label.textContent = `epoch ${run.epochs[at]}`;
      strokes.forEach((stroke) => {
        const weight = run.op_weights[at][stroke.dataset.edge][stroke.dataset.operation];
        stroke.setAttribute("stroke-width", scale * Math.max(weight, 0));
      });
      words.forEach((word) => {
        const operation = run.cells[at][word.dataset.edge];
        word.textContent = run.operations[operation];
        word.setAttribute("fill", run.colours[operation]);
      });
    };
    input.addEventListener("input", show);
    input.setAttribute("aria-label", "epoch of the drawing");
    holder.append(drawing, label, input);
    show();
  }

  async function drawRun(element) {
    const run = read(`data-run-${element.dataset.run}`);
    const looks = [{ colour: "#56B4E9", dash: "dash" }, { colour: "#0072B2", dash: "solid" }];
    const drawings = run.charts.map((chart) => {
      const named = chart.lines.map((line, at) => ({ ...line, ...looks[chart.lines.length > 1 ? at : 1] }));
      const settings = layout(chart.unit);
      if (named.length > 1) Object.assign(settings, { showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, margin: { ...settings.margin, t: 30 } });
      return [plotIn(element.querySelector(".charts"), chart.title), named, settings];
    });
    run.edges.forEach((title, edge) => {
      const named = run.candidates[edge].map((operation, at) => ({ label: run.operations[operation], colour: run.colours[operation], values: run.op_weights.map((weights) => weights[edge][at]) }));
      drawings.push([plotIn(element.querySelector(".edges"), `edge ${title}`), named, layout("weight")]);
    });
    // All places first: the width of one depends on how many stand beside it.
    for (const [place, named, settings] of drawings) {
      await Plotly.newPlot(place, lines(run, named), settings, CONFIG);
      await pause();
    }
    addSlider(element, run);
    element.dataset.opened = "true";
  }

  function sortBy(table, at) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    const down = heads[at].getAttribute("aria-sort") === "ascending";
    heads.forEach((head, place) => head.setAttribute("aria-sort", place !== at ? "none" : down ? "descending" : "ascending"));
    const text = (row) => row.cells[at].textContent.trim();
    const order = (a, b) => {
      const x = text(a), y = text(b);
      if (x === "" || y === "") return (x === "") - (y === ""); // what has no value stays below
      const sign = down ? -1 : 1;
      return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y, "en", { numeric: true }) : x - y);
    };
    body.append(...[...body.rows].sort(order));
  }

  function sift(input) {
    const table = document.getElementById(input.dataset.sift), told = document.querySelector(`[data-shown="${input.dataset.sift}"]`);
    const show = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean), rows = [...table.tBodies[0].rows];
      // A number is a whole cell, so that seed 1 is not seed 10; other words may stand anywhere.
      const holds = (row, word) => [...row.cells].some((cell) => (isNaN(word) ? cell.textContent.toLowerCase().includes(word) : cell.textContent.trim() === word));
      for (const row of rows) row.hidden = !words.every((word) => holds(row, word));
      told.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} runs`;
    };
    input.addEventListener("input", show);
    show();
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    table.tHead.querySelectorAll("button").forEach((button, at) => button.addEventListener("click", () => sortBy(table, at)));
  }
  document.querySelectorAll("[data-sift]").forEach(sift);
  for (const link of document.querySelectorAll("#every-run a")) {
    link.addEventListener("click", () => { document.querySelector(link.getAttribute("href")).open = true; });
  }
  for (const element of document.querySelectorAll("details.run")) {
    element.addEventListener("toggle", () => drawRun(element), { once: true });
  }
  (async () => {
    for (const element of document.querySelectorAll("[data-figure]:not([data-drawn])")) await drawFigure(element);
    document.documentElement.dataset.drawn = "true";
  })();
})();

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

  function layout(unit, range) {
    return {
      margin: { l: 52, r: 12, t: 8, b: 40 },
      font: FONT,
      paper_bgcolor: "#ffffff",
      plot_bgcolor: "#ffffff",
      showlegend: false,
      hovermode: "closest",
      dragmode: DRAG,
      xaxis: { title: { text: "epoch", standoff: 6 }, gridcolor: "#eceff2", zeroline: false, automargin: true },
      yaxis: { title: { text: unit, standoff: 6 }, gridcolor: "#eceff2", zeroline: false, automargin: true, ...(range ? { range } : {}) },
    };
  }

  function bandTrace(curve) {
    const at = curve.epochs.map((_, place) => place).filter((place) => curve.low[place] !== null);
    const back = [...at].reverse();
    return {
      x: [...at, ...back].map((place) => curve.epochs[place]),
      y: [...at.map((place) => curve.low[place]), ...back.map((place) => curve.high[place])],
      fill: "toself", fillcolor: faded(curve.colour, 0.16), mode: "lines", line: { width: 0 },
      hoverinfo: "skip", type: "scatter",
    };
  }

  function seedTrace(curve) {
    const x = [], y = [], text = [];
    for (const seed of curve.seeds) {
      seed.values.forEach((value, place) => {
        if (value === null) return;
        x.push(curve.epochs[place]); y.push(value); text.push(`seed ${seed.seed}, run ${seed.run}`);
      });
      x.push(null); y.push(null); text.push("");
    }
    return {
      x, y, text, mode: "lines", type: "scatter", line: { color: faded(curve.colour, 0.4), width: 0.8 },
      hovertemplate: `${curve.label}<br>%{text}<br>epoch %{x}: %{y:.5g}<extra></extra>`,
    };
  }

  function meanTrace(curve) {
    const told = curve.epochs.map((_, place) => {
      const ends = curve.low[place] === null ? "" : ` [${curve.low[place]}, ${curve.high[place]}]`;
      return `${ends}, n = ${curve.counts[place]}`;
    });
    return {
      x: curve.epochs, y: curve.mean, text: told, mode: "lines", type: "scatter", connectgaps: true,
      line: { color: curve.colour, width: 2.4, dash: curve.dash },
      hovertemplate: `<b>${curve.label}</b><br>epoch %{x}: %{y:.5g}%{text}<extra></extra>`,
    };
  }

  function addLines(settings, lines) {
    settings.shapes = lines.flatMap((line) => [
      ...(line.band ? [{ type: "rect", xref: "paper", x0: 0, x1: 1, y0: line.band[0], y1: line.band[1], fillcolor: faded(GREY, 0.12), line: { width: 0 }, layer: "below" }] : []),
      { type: "line", xref: "paper", x0: 0, x1: 1, y0: line.value, y1: line.value, line: { color: GREY, width: 1.2, dash: line.dash }, layer: "below" },
    ]);
  }

  function drawPanel(place, panel) {
    const traces = [], labels = [];
    for (const make of [bandTrace, seedTrace, meanTrace]) {
      for (const curve of panel.curves) {
        traces.push(make(curve));
        labels.push(curve.label);
      }
    }
    const settings = layout(panel.unit, panel.range);
    addLines(settings, panel.lines);
    place.labels = labels;
    return Plotly.newPlot(place, traces, settings, CONFIG);
  }

  function drawSurface(place, surface, scale, last) {
    const settings = layout("y");
    const grid = {
      x: surface.axis, y: surface.axis, z: surface.accuracy, type: "heatmap", colorscale: "Viridis",
      zmin: scale[0], zmax: scale[1], showscale: last, colorbar: { title: { text: "%" }, thickness: 10 },
      hovertemplate: `${surface.title}, seed ${surface.seed}<br>x %{x:.3g}, y %{y:.3g}: %{z:.2f} %<extra></extra>`,
    };
    const centre = { x: [0], y: [0], mode: "markers", type: "scatter", marker: { symbol: "cross-thin", size: 10, line: { width: 2, color: "#ffffff" } }, hoverinfo: "skip" };
    settings.xaxis.title.text = "x";
    return Plotly.newPlot(place, [grid, centre], settings, CONFIG);
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
    for (const place of element.querySelectorAll(".plot[data-surface]")) {
      const at = Number(place.dataset.surface);
      await drawSurface(place, figure.surfaces[at], figure.scale, at === figure.surfaces.length - 1);
      await pause();
    }
    for (const place of element.querySelectorAll(".plot[data-panel]")) {
      await drawPanel(place, figure.rows[place.dataset.row].panels[place.dataset.panel]);
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
      const named = run.operations.map((label, at) => ({ label, colour: run.colours[at], values: run.op_weights.map((weights) => weights[edge][at]) }));
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

  for (const element of document.querySelectorAll("details.run")) {
    element.addEventListener("toggle", () => drawRun(element), { once: true });
  }
  (async () => {
    for (const element of document.querySelectorAll("[data-figure]:not([data-drawn])")) await drawFigure(element);
    document.documentElement.dataset.drawn = "true";
  })();
})();

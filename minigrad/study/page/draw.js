// Charts as SVG, whose colors are in train.css, and weights as pictures on a canvas.
(() => {
  "use strict";
  const study = (window.study ??= {});
  const SVG = "http://www.w3.org/2000/svg";

  // Create an element: tag, attributes, children (elements or text).
  function create(namespace, tag, attributes = {}, ...children) {
    const result = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== false) result.setAttribute(name, value === true ? "" : value);
    }
    result.append(...children);
    return result;
  }

  const html = (tag, attributes, ...children) => create(null, tag, attributes, ...children);
  const svg = (tag, attributes, ...children) => create(SVG, tag, attributes, ...children);

  // A number with three significant digits; very large and very small ones as a power of ten.
  function digits(x) {
    if (!Number.isFinite(x)) return Number.isNaN(x) ? "NaN" : x > 0 ? "infinite" : "−infinite";
    const size = Math.abs(x);
    if (size === 0) return "0";
    const text = size >= 1e5 || size < 1e-3 ? x.toExponential(1) : size >= 100 ? String(Math.round(x)) : x.toPrecision(3);
    return text.replaceAll("-", "−");
  }

  // The same without zeros at the end.
  const short = (x) => digits(x).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");

  // About `count` round numbers from 0 to `top`.
  function ticks(top, count) {
    const raw = top / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((size) => size >= raw * 0.999);
    return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => i * step);
  }

  // The path of a line. Where there are more points than pixels, each pixel has the smallest and the largest value.
  function path(xs, ys, x, y, width) {
    const points = [];
    const add = (i) => Number.isFinite(ys[i]) && points.push(`${x(xs[i]).toFixed(1)},${y(ys[i]).toFixed(1)}`);
    const bucket = Math.ceil(xs.length / Math.max(width, 1));
    for (let begin = 0; begin < xs.length; begin += bucket) {
      let low = begin, high = begin;
      for (let i = begin; i < Math.min(begin + bucket, xs.length); i++) {
        if (ys[i] < ys[low]) low = i;
        if (ys[i] > ys[high]) high = i;
      }
      add(Math.min(low, high));
      if (low !== high) add(Math.max(low, high));
    }
    return points.length ? `M${points.join("L")}` : "";
  }

  const HEIGHT = 220, MARGIN = { top: 12, right: 12, bottom: 30, left: 44 }; // of a chart

  // The grid, the numbers on both axes and the horizontal line `rule` of a chart.
  function axes({ width, inner, x, y, highest, steps, format, rule }) {
    const marks = [], right = width - MARGIN.right;
    for (const tick of ticks(highest, 4)) {
      marks.push(svg("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y(tick), y2: y(tick) }));
      marks.push(svg("text", { x: MARGIN.left - 8, y: y(tick) + 4, "text-anchor": "end" }, format(tick)));
    }
    for (const tick of ticks(steps, inner > 400 ? 5 : 3)) {
      const anchor = x(tick) > width - 30 ? "end" : "middle";
      marks.push(svg("text", { x: x(tick), y: HEIGHT - 10, "text-anchor": anchor }, `${tick ? "" : "step "}${tick.toLocaleString("en")}`));
    }
    if (rule) {
      marks.push(svg("line", { class: "rule", x1: MARGIN.left, x2: right, y1: y(rule.value), y2: y(rule.value) }));
      marks.push(svg("text", { class: "rule-text", x: right, y: y(rule.value) - 5, "text-anchor": "end" }, rule.text));
    }
    return marks;
  }

  // A line chart over steps. series: [{name, style, xs, ys}]; the arrays may grow between two calls of `draw`.
  // format: the text of a tick; exact: that of a value, if it differs; rule: {value, text}, a horizontal line.
  function chart({ label, format = short, exact = null, top = null, rule = null }) {
    const root = svg("svg", { class: "chart", role: "img", "aria-label": label, height: HEIGHT });
    const readout = html("p", { class: "values", "aria-hidden": "true" });
    const element = html("div", { class: "chart-box" }, root, readout);
    let pointer = null, latest = null;

    function draw(series, steps) {
      latest = [series, steps];
      const width = element.clientWidth;
      if (!width) return; // the tab is hidden
      const inner = width - MARGIN.left - MARGIN.right, floor = HEIGHT - MARGIN.bottom;
      const values = series.flatMap(({ ys }) => [ys.reduce((a, b) => (Number.isFinite(b) && b > a ? b : a), 0)]);
      const highest = top ?? Math.max(...values, rule ? rule.value * 1.12 : 0, 1e-9);
      const x = (step) => MARGIN.left + (step / steps) * inner;
      const y = (value) => floor - (value / highest) * (floor - MARGIN.top);
      const marks = axes({ width, inner, x, y, highest, steps, format, rule });
      const lines = series.map(({ style, xs, ys }) => svg("path", { class: `curve ${style}`, d: path(xs, ys, x, y, inner) }));
      root.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      root.setAttribute("width", width);
      root.replaceChildren(...marks, ...lines, ...cursor(series, steps, x, y, floor, inner));
    }

    // The line under the pointer, and the values there as text.
    function cursor(series, steps, x, y, floor, inner) {
      readout.textContent = "";
      if (pointer === null) return [];
      const step = ((pointer - MARGIN.left) / inner) * steps, parts = [], dots = [];
      let at = null;
      for (const { name, style, xs, ys } of series) {
        let i = xs.findIndex((value) => value >= step);
        if (i < 0) i = xs.length - 1;
        if (i < 0) continue;
        at ??= xs[i];
        parts.push(`${name} ${(exact ?? format)(ys[i])}`);
        if (Number.isFinite(ys[i])) dots.push(svg("circle", { class: `dot ${style}`, cx: x(xs[i]), cy: y(ys[i]), r: 3.5 }));
      }
      if (at === null) return [];
      readout.textContent = `Step ${at.toLocaleString("en")}: ${parts.join(", ")}`;
      return [svg("line", { class: "cursor", x1: x(at), x2: x(at), y1: MARGIN.top, y2: floor }), ...dots];
    }

    function move(event) {
      pointer = event ? event.clientX - root.getBoundingClientRect().left : null;
      if (latest) draw(...latest);
    }
    root.addEventListener("pointermove", move);
    root.addEventListener("pointerdown", move);
    root.addEventListener("pointerleave", () => move(null));
    new ResizeObserver(() => latest && draw(...latest)).observe(element);
    return { element, draw };
  }

  // A small line without axes, over a logarithm of the values.
  function sparkline() {
    const width = 120, height = 26;
    const line = svg("path", { class: "curve spark" });
    const element = svg("svg", { class: "sparkline", width, height, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, line);
    function draw(values, steps) {
      const logs = values.map((value) => (value > 0 && Number.isFinite(value) ? Math.log10(value) : NaN));
      const finite = logs.filter((value) => !Number.isNaN(value));
      const low = finite.reduce((a, b) => Math.min(a, b), Infinity), high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
      const middle = (low + high) / 2, half = Math.max((high - low) / 2, 0.5);
      const xs = values.map((_, i) => i);
      line.setAttribute("d", path(xs, logs, (i) => 1 + (i / steps) * (width - 2), (v) => height / 2 - ((v - middle) / half) * (height / 2 - 2), width));
    }
    return { element, draw };
  }

  // How to show `inputs` weights as a picture: {height, width, channels}. Inputs that are not images fill rows of a square.
  function pictureShape(image, inputs) {
    if (image) return { height: image[0], width: image[1], channels: image[2] };
    const width = Math.ceil(Math.sqrt(inputs));
    return { height: Math.ceil(inputs / width), width, channels: 1 };
  }

  // Draw weights: 0 has the color `colors.zero`, and -limit and limit have `colors.negative` and `colors.positive`, each
  // [red, green, blue]. The channels of a colored image are averaged.
  function picture(canvas, weights, shape, limit, colors) {
    const { height, width, channels } = shape;
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
    for (let i = 0; i < weights.length / channels; i++) {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += weights[i * channels + c];
      const share = Math.max(-1, Math.min(1, sum / channels / limit || 0)), end = share < 0 ? colors.negative : colors.positive;
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = colors.zero[c] + (end[c] - colors.zero[c]) * Math.abs(share) ** 0.8;
      pixels.data[4 * i + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
  }

  study.draw = { html, digits, short, chart, sparkline, pictureShape, picture };
})();

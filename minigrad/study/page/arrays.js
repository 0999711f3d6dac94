// Arrays as images: a canvas with one colored cell per element, a legend, and the selected element.
(function () {
  "use strict";
  const { text, span, unravel, range, product } = study.numbers;

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).split(",").map(Number);

  // The colors of a theme: of 0, and of the largest negative and positive value.
  function palette(kind) {
    return kind === "pixels"
      ? { zero: color("--cell-zero"), high: color("--cell-ink"), low: color("--cell-negative") }
      : { zero: color("--cell-zero"), high: color("--cell-positive"), low: color("--cell-negative") };
  }

  // How to place the elements: `tiles` of rows x columns cells, `across` of them side by side.
  function arrange(t, view, side, image) {
    const shape = view.shape, last = shape[shape.length - 1] || 1;
    const isImage = side && last === side[0] * side[1] && shape.length <= 2;
    if (isImage) {
      const one = t.batch, tiles = one ? 1 : product(shape.slice(0, -1));
      return { tiles, rows: side[0], columns: side[1], first: one ? image * last : 0, across: tiles === 1 ? 1 : tiles <= 4 ? 2 : 5 };
    }
    if (shape.length > 2) {
      const rows = shape[shape.length - 2], outer = shape.slice(0, -2), tiles = product(t.batch ? outer.slice(1) : outer);
      const across = Math.ceil(Math.sqrt(tiles)), size = product(shape.slice(1));
      return { tiles, rows, columns: last, first: t.batch ? image * size : 0, across };
    }
    if (shape.length === 2) return { tiles: 1, rows: shape[0], columns: last, first: 0, across: 1 };
    const columns = last > 64 ? Math.ceil(Math.sqrt(last)) : last;
    return { tiles: 1, rows: Math.ceil(last / columns), columns, first: 0, across: 1 };
  }

  // The position of a flat index in cells, or null if it is not shown.
  function place(a, flat, gap) {
    const k = flat - a.first, size = a.rows * a.columns, tile = Math.floor(k / size);
    if (k < 0 || tile >= a.tiles) return null;
    const x = (tile % a.across) * (a.columns + gap), y = Math.floor(tile / a.across) * (a.rows + gap);
    return [x + (k % size) % a.columns, y + Math.floor((k % size) / a.columns)];
  }

  function element(tag, className, ...children) {
    const e = document.createElement(tag);
    if (className) e.className = className;
    e.append(...children);
    return e;
  }

  // options: t (tensor), view, title (node), label (plain text), kind ("signed" or "pixels"), side, image, selected, select(flat)
  function figure(options) {
    const { view, label } = options, box = element("figure", "array");
    box.append(element("figcaption", "array-title", options.title));
    if (view.size === 1) {
      const number = span(view.at(0), "value");
      number.classList.add("scalar");
      box.append(number);
      return box;
    }
    const a = arrange(options.t, view, options.side, options.image);
    const gap = a.tiles > 1 ? 1 : 0, down = Math.ceil(a.tiles / a.across);
    const width = a.across * (a.columns + gap) - gap, height = down * (a.rows + gap) - gap;
    const shown = [];
    for (let k = 0; k < a.tiles * a.rows * a.columns && a.first + k < view.size; k++) shown.push(view.at(a.first + k));
    const values = shown.filter((x) => x !== undefined), [low, high] = range(values);
    if (!values.length) {
      box.append(element("p", "soft", "Recorded for another image of the batch only."));
      return box;
    }
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.tabIndex = 0;
    canvas.setAttribute("aria-label", `${label}, ${view.shape.join(" by ")}, from ${text(low)} to ${text(high)}. Arrow keys select an element.`);
    const cell = Math.max(1, Math.min(28, (options.width || 264) / width, (options.height || 300) / height));
    canvas.style.width = `${Math.round(cell * width)}px`;
    canvas.style.aspectRatio = `${width} / ${height}`;
    draw(canvas, { view, a, gap, width, height, cell, low, high, kind: options.kind, selected: options.selected });
    canvas.addEventListener("click", (event) => {
      const bounds = canvas.getBoundingClientRect();
      const x = Math.floor((event.clientX - bounds.left) / bounds.width * width), y = Math.floor((event.clientY - bounds.top) / bounds.height * height);
      const flat = hit(a, gap, x, y, view);
      if (flat !== null) options.select(flat);
    });
    canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (!moves[event.key]) return;
      event.preventDefault();
      event.stopPropagation();
      const from = place(a, options.selected, gap) || [0, 0], [dx, dy] = moves[event.key];
      for (let n = 1; n <= 1 + gap; n++) {
        const flat = hit(a, gap, from[0] + n * dx, from[1] + n * dy, view);
        if (flat !== null) { options.select(flat, true); break; }
      }
    });
    box.append(canvas, legend(low, high, options.kind));
    if (options.selected !== undefined && options.readout !== false) {
      const index = unravel(options.selected, view.shape).join(", ");
      const readout = element("p", "readout", element("span", "soft", `[${index}] `));
      readout.append(span(view.at(options.selected), options.name || "selected"));
      box.append(readout);
    }
    return box;
  }

  function hit(a, gap, x, y, view) {
    const column = Math.floor(x / (a.columns + gap)), row = Math.floor(y / (a.rows + gap));
    const dx = x - column * (a.columns + gap), dy = y - row * (a.rows + gap), tile = row * a.across + column;
    if (x < 0 || y < 0 || dx >= a.columns || dy >= a.rows || column >= a.across || tile >= a.tiles) return null;
    const flat = a.first + tile * a.rows * a.columns + dy * a.columns + dx;
    return flat < view.size && view.at(flat) !== undefined ? flat : null;
  }

  function draw(canvas, p) {
    const { zero, high, low } = palette(p.kind), top = Math.max(Math.abs(p.low), Math.abs(p.high)) || 1;
    const scale = Math.max(1, Math.round(p.cell * Math.min(2, window.devicePixelRatio || 1)));
    canvas.width = p.width * scale;
    canvas.height = p.height * scale;
    const small = new ImageData(p.width, p.height), a = p.a;
    for (let k = 0; k < a.tiles * a.rows * a.columns; k++) {
      const x = a.first + k < p.view.size ? p.view.at(a.first + k) : undefined;
      if (x === undefined) continue;
      const [column, row] = place(a, a.first + k, p.gap), t = Math.min(1, Math.abs(x) / top), end = x < 0 ? low : high;
      const at = (row * p.width + column) * 4;
      for (let rgb = 0; rgb < 3; rgb++) small.data[at + rgb] = zero[rgb] + t * (end[rgb] - zero[rgb]);
      small.data[at + 3] = 255;
    }
    const buffer = document.createElement("canvas");
    [buffer.width, buffer.height] = [p.width, p.height];
    buffer.getContext("2d").putImageData(small, 0, 0);
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(buffer, 0, 0, canvas.width, canvas.height);
    const spot = p.selected === undefined ? null : place(a, p.selected, p.gap);
    if (!spot) return;
    // A dark and a light ring, so that one of them contrasts with the cell.
    const margin = Math.max(2, scale * 0.12), [x, y] = [spot[0] * scale, spot[1] * scale], extra = scale < 10 ? 4 : 0;
    for (const [ring, offset] of [["--ring-outer", 0], ["--ring-inner", margin]]) {
      pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue(ring);
      pen.lineWidth = margin;
      const inset = margin / 2 + offset - extra;
      pen.strokeRect(x + inset, y + inset, scale - 2 * inset, scale - 2 * inset);
    }
  }

  function legend(low, high, kind) {
    const row = element("div", `legend ${kind}`), bar = element("span", "legend-bar");
    bar.setAttribute("aria-hidden", "true");
    const top = Math.max(Math.abs(low), Math.abs(high)) || 1, side = (x) => (x < 0 ? "--cell-negative" : kind === "pixels" ? "--cell-ink" : "--cell-positive");
    const stop = (x) => `color-mix(in srgb, rgb(var(${side(x)})) ${Math.abs(x) / top * 100}%, rgb(var(--cell-zero)))`;
    const zero = low < 0 && high > 0 ? `, rgb(var(--cell-zero)) ${-low / (high - low) * 100}%` : "";
    bar.style.background = `linear-gradient(to right, ${stop(low)}${zero}, ${stop(high)})`;
    row.append(span(low, "min"), bar, span(high, "max"));
    return row;
  }

  study.arrays = { figure, element };
})();

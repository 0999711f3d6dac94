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

  // How to place the elements: `tiles` of rows x columns cells, `across` of them side by side. A `transposed` pane has
  // axis 0 from left to right. The cells of a pane are `width` x `height` pixels at most.
  function arrange(t, view, side, image) {
    const shape = view.shape, last = shape[shape.length - 1] || 1, outer = shape.slice(0, -1);
    const panes = (...list) => list.map((pane) => ({ first: 0, tiles: 1, across: 1, ...pane }));
    if (side && last === side[0] * side[1] && shape.length <= 2) {
      const tiles = t.batch ? 1 : product(outer), across = tiles === 1 ? 1 : tiles <= 4 ? 2 : 5;
      return panes({ tiles, rows: side[0], columns: side[1], first: t.batch ? image * last : 0, across });
    }
    if (shape.length > 2) {
      const tiles = product(t.batch ? outer.slice(1, -1) : outer.slice(0, -1)), across = Math.ceil(Math.sqrt(tiles));
      return panes({ tiles, rows: shape[shape.length - 2], columns: last, first: t.batch ? image * product(shape.slice(1)) : 0, across });
    }
    const fold = (n) => (n > 40 ? Math.ceil(Math.sqrt(n)) : n);
    if (shape.length === 2 && t.batch) {
      const columns = fold(last), row = { rows: Math.ceil(last / columns), columns, first: image * last, count: last, caption: `image ${image}` };
      const whole = { rows: last, columns: shape[0], transposed: true, cell: [Math.min(8, 300 / shape[0]), Math.min(8, 140 / last)], caption: "the batch" };
      return view.row === null ? panes(row, whole) : panes(row);
    }
    if (shape.length === 2) return panes({ rows: shape[0], columns: last });
    return panes({ rows: Math.ceil(last / fold(last)), columns: fold(last), count: last });
  }

  const cellsOf = (a) => a.count || a.tiles * a.rows * a.columns;
  const flatOf = (a, k) => (a.transposed ? (k % a.columns) * a.rows + Math.floor(k / a.columns) : a.first + k);

  // The position of a flat index in cells, or null if it is not shown.
  function place(a, flat, gap) {
    const k = a.transposed ? (flat % a.rows) * a.columns + Math.floor(flat / a.rows) : flat - a.first;
    if (k < 0 || k >= cellsOf(a)) return null;
    const size = a.rows * a.columns, tile = Math.floor(k / size);
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
      const number = span(view.at(0), options.name || "selected");
      number.classList.add("scalar");
      number.dataset.index = 0;
      box.append(number);
      return box;
    }
    const panes = arrange(options.t, view, options.side, options.image), values = [];
    for (const a of panes) {
      for (let k = 0; k < cellsOf(a); k++) values.push(view.at(flatOf(a, k)));
    }
    const [low, high] = range(values.filter((x) => x !== undefined));
    if (low > high) {
      box.append(element("p", "soft", "Recorded for another image of the batch only."));
      return box;
    }
    for (const a of panes) {
      if (panes.length > 1) box.append(element("p", "pane", a.caption));
      box.append(pane(a, options, low, high));
    }
    box.append(legend(low, high, options.kind));
    if (options.selected !== undefined && options.readout !== false) {
      const index = unravel(options.selected, view.shape).join(", ");
      const readout = element("p", "readout", element("span", "soft", `[${index}] `));
      readout.append(span(view.at(options.selected), options.name || "selected"));
      readout.lastChild.dataset.index = options.selected;
      box.append(readout);
    }
    return box;
  }

  function pane(a, options, low, high) {
    const { view, label } = options, canvas = document.createElement("canvas");
    const gap = a.tiles > 1 ? 1 : 0, width = a.across * (a.columns + gap) - gap, height = Math.ceil(a.tiles / a.across) * (a.rows + gap) - gap;
    canvas.setAttribute("role", "img");
    canvas.tabIndex = 0;
    const part = a.caption ? `, ${a.caption}` : "";
    canvas.setAttribute("aria-label", `${label}${part}, ${view.shape.join(" by ")}, from ${text(low)} to ${text(high)}. Arrow keys select an element.`);
    const wide = options.width || (a.tiles > 1 ? 440 : 264), fits = Math.min(28, wide / width, (options.height || 300) / height);
    const largest = fits >= 2 ? Math.floor(fits) : Math.max(1, fits), cell = a.cell || [largest, largest];
    canvas.style.width = `${Math.round(cell[0] * width)}px`;
    canvas.style.aspectRatio = `${cell[0] * width} / ${cell[1] * height}`;
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
    return canvas;
  }

  function hit(a, gap, x, y, view) {
    const column = Math.floor(x / (a.columns + gap)), row = Math.floor(y / (a.rows + gap));
    const dx = x - column * (a.columns + gap), dy = y - row * (a.rows + gap), tile = row * a.across + column;
    if (x < 0 || y < 0 || dx >= a.columns || dy >= a.rows || column >= a.across || tile >= a.tiles) return null;
    const k = tile * a.rows * a.columns + dy * a.columns + dx;
    if (k >= cellsOf(a)) return null;
    const flat = flatOf(a, k);
    return view.at(flat) === undefined ? null : flat;
  }

  function draw(canvas, p) {
    const { zero, high, low } = palette(p.kind), top = Math.max(Math.abs(p.low), Math.abs(p.high)) || 1, a = p.a;
    const [sx, sy] = p.cell.map((size) => Math.max(1, Math.round(size * Math.min(2, window.devicePixelRatio || 1))));
    canvas.width = p.width * sx;
    canvas.height = p.height * sy;
    const small = new ImageData(p.width, p.height);
    for (let k = 0; k < cellsOf(a); k++) {
      const flat = flatOf(a, k), x = p.view.at(flat);
      if (x === undefined) continue;
      const [column, row] = place(a, flat, p.gap), t = Math.min(1, Math.abs(x) / top), end = x < 0 ? low : high;
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
    if (spot) ring(pen, spot[0] * sx, spot[1] * sy, sx, sy);
  }

  // A dark and a light ring around a cell, so that one of them contrasts with it; outside of a small cell.
  function ring(pen, x, y, width, height) {
    const style = getComputedStyle(document.documentElement), line = Math.max(1.5, Math.min(3, Math.min(width, height) * 0.12));
    const out = Math.min(width, height) < 14 ? 2 * line + 1 : 0;
    for (const [name, offset] of [["--ring-outer", 0], ["--ring-inner", line]]) {
      const inset = line / 2 + offset - out;
      pen.strokeStyle = style.getPropertyValue(name);
      pen.lineWidth = line;
      const left = Math.max(line / 2 + offset, x + inset), right = Math.min(pen.canvas.width - line / 2 - offset, x + width - inset);
      const above = Math.max(line / 2 + offset, y + inset), below = Math.min(pen.canvas.height - line / 2 - offset, y + height - inset);
      pen.strokeRect(left, above, right - left, below - above);
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

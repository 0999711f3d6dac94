// The graph of a recording as SVG: boxes that can be selected, and edges that carry gradients after their backward events.
(function () {
  "use strict";
  const { text, norm, plain } = study.numbers;
  const NAMESPACE = "http://www.w3.org/2000/svg";

  function svg(tag, attributes, ...children) {
    const e = document.createElementNS(NAMESPACE, tag);
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    e.append(...children);
    return e;
  }

  // options: opened, event (index), focus (tensor), wrong (set of tensors), select(tensor)
  function draw(container, options) {
    const { opened, event: now } = options, { graph, events } = opened.recording, event = events[now];
    const root = svg("svg", { viewBox: `0 0 ${graph.width} ${graph.height}`, role: "group", "aria-label": "Graph of the operations" });
    root.style.maxWidth = `${graph.width}px`;
    root.style.minWidth = `${graph.width * 0.62}px`;
    const done = new Set(), labels = [];
    events.slice(0, now + 1).forEach((e) => { if (e.kind === "forward") done.add(e.tensor); });
    const operands = event.kind === "forward" ? event.operands.map((o) => o.tensor) : [];
    for (const edge of graph.edges) {
      const active = edge.events.includes(now) || (event.kind === "forward" && event.tensor === edge.to && operands.includes(edge.from));
      const past = edge.events.filter((k) => k <= now);
      const classes = ["edge", active && "active", past.length && "carries", !done.has(edge.to) && "later"].filter(Boolean).join(" ");
      root.append(svg("path", { d: edge.path, class: classes, fill: "none" }));
      if (past.length) labels.push([edge, events[past[past.length - 1]], active]);
    }
    const texts = labels.map(([edge, last, active]) => labelOf(opened, edge, last, active, shift(edge, graph.edges)));
    spread(texts);
    root.append(...texts.map(label));
    for (const box of graph.boxes) root.append(boxOf(box, options, event, done));
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.tensor : undefined;
    const inside = container.contains(document.activeElement);
    const note = container.parentElement.querySelector(".graph-note");
    note.textContent = texts.some((t) => t.shown.startsWith("‖")) ? "On the edges: the norm ‖ ‖ of the gradient that was returned, the root of the sum of squares." : texts.length ? "On the edges: the gradient that was returned." : "";
    container.replaceChildren(root);
    const current = root.querySelector(".current");
    if (current) {
      const bounds = current.getBoundingClientRect(), frame = container.getBoundingClientRect();
      container.scrollLeft += bounds.left + bounds.width / 2 - frame.left - frame.width / 2;
      container.scrollTop += bounds.top + bounds.height / 2 - frame.top - frame.height / 2;
    }
    if (inside && focused !== undefined) root.querySelector(`[data-tensor="${focused}"]`)?.focus({ preventScroll: true });
  }

  // Where an operand is used twice by the same operation, the labels of its edges are side by side: -1 or 1, else 0.
  function shift(edge, edges) {
    const twins = edges.filter((other) => other.from === edge.from && other.to === edge.to);
    return twins.length < 2 ? 0 : twins.indexOf(edge) * 2 - (twins.length - 1);
  }

  // The gradient that an edge carries: its value if it is one number, otherwise its norm.
  function labelOf(opened, edge, event, active, side) {
    const array = opened.header.arrays[event.returned], scalar = array.data.length === 1;
    const value = scalar ? array.data[0] : norm(array.data), short = text(Number(value.toPrecision(3)));
    const shown = scalar ? short : `‖${short}‖`, width = shown.length * 7.4 + 12;
    return { value, shown, width, active, x: edge.x + side * (width / 2 + 2), y: edge.y };
  }

  // Move labels apart that would overlap.
  function spread(labels) {
    const sorted = [...labels].sort((a, b) => a.x - b.x);
    sorted.forEach((one, k) => {
      for (const other of sorted.slice(k + 1)) {
        const overlap = one.x + one.width / 2 + 4 - (other.x - other.width / 2);
        if (Math.abs(one.y - other.y) < 20 && overlap > 0) { one.x -= overlap / 2; other.x += overlap / 2; }
      }
    });
  }

  function label({ x, y, width, shown, value, active }) {
    return svg("g", { class: `edge-label${active ? " active" : ""}` },
      svg("rect", { x: x - width / 2, y: y - 10, width, height: 20, rx: 10 }),
      svg("text", { x, y: y + 4.5, "text-anchor": "middle", "data-value": String(value) }, shown));
  }

  // The symbol of the formulas beside the name: "z₁ = linear", and "W₁, 10 x 784" below a name.
  function lines(t, box) {
    const symbol = plain(t.symbol), [first, second] = box.lines;
    if (t.op) return [`${symbol} = ${t.op}`, second];
    return t.shape.length && symbol !== first ? [first, `${symbol}, ${second}`] : [first, second];
  }

  function boxOf(box, options, event, done) {
    const t = options.opened.tensors[box.tensor], target = event.kind === "backward" ? event.to : event.tensor;
    const current = box.tensor === target || (event.kind === "backward" && box.tensor === event.tensor);
    const classes = ["box", box.kind, current && "current", options.focus === box.tensor && "focus",
      options.wrong.has(box.tensor) && "wrong", box.kind === "result" && !done.has(box.tensor) && "later"].filter(Boolean).join(" ");
    const group = svg("g", { class: classes, tabindex: 0, role: "button", "data-tensor": box.tensor,
      "aria-label": `${plain(t.symbol)}, ${t.op ? `result of ${t.op}` : box.kind}, shape ${t.shape.join(" by ") || "scalar"}` });
    group.append(svg("rect", { x: box.x, y: box.y, width: box.width, height: box.height, rx: box.kind === "result" ? 8 : 2 }));
    lines(t, box).forEach((line, k) => {
      const y = box.y + box.height / 2 + (k - (box.lines.length - 1) / 2) * 17 + 4.5;
      group.append(svg("text", { x: box.x + box.width / 2, y, "text-anchor": "middle", class: k ? "small" : "" }, line));
    });
    const choose = () => options.select(box.tensor);
    group.addEventListener("click", choose);
    group.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(); } });
    return group;
  }

  study.graph = { draw };
})();

// The chain rule for one element: recorded events with their arrays, and the path of factors from the loss.
(function () {
  "use strict";
  const { view, unravel, broadcastIndex, product } = study.numbers;
  const { rules, everyIndex } = study.formulas;

  // Prepares a recording: views of its tensors, the forward event of each result, and the backward events to each tensor.
  function open(header, recording) {
    const arrays = header.arrays, tensors = recording.tensors;
    const views = tensors.map((t) => view(arrays[t.array], t.shape, t.row));
    const rowOf = (t) => (t.kind === "input" ? header.batch.shown : t.row);
    const gradients = tensors.map((t) => (t.gradient === null ? null : view(arrays[t.gradient], t.shape, rowOf(t))));
    const forward = new Map(), backward = new Map();
    let root = null, start = -1;
    recording.events.forEach((event, index) => {
      if (event.kind === "forward") forward.set(event.tensor, event);
      if (event.kind === "start") [root, start] = [event.tensor, index];
      if (event.kind === "backward") backward.set(event.to, [...(backward.get(event.to) || []), { event, index }]);
    });
    const opened = { header, recording, tensors, views, gradients, forward, backward, root, start };
    tensors.forEach((t, k) => { if (t.kind === "input" && gradients[k]) backward.set(k, virtual(opened, k)); });
    return opened;
  }

  // The engine does not compute the gradient of the input. Its events follow from the gradients of its users.
  function virtual(opened, k) {
    const list = [];
    for (const event of opened.forward.values()) {
      for (const operand of event.operands) {
        if (operand.tensor !== k || opened.gradients[event.tensor] === null) continue;
        list.push({ event: { kind: "backward", virtual: true, tensor: event.tensor, op: event.op, operand: operand.label, to: k }, index: Infinity });
      }
    }
    return list;
  }

  // What a formula needs; for a backward event also the gradients.
  function context(opened, event) {
    const { tensors, views, header } = opened, forward = opened.forward.get(event.tensor), o = {};
    for (const { label, tensor } of forward.operands) o[label] = { t: tensors[tensor], v: views[tensor], k: tensor };
    const labels = o.target && o.target.t.kind === "label" ? o.target.v.data : null;
    const c = { o, labels, options: forward.options, op: event.op, y: { t: tensors[event.tensor], v: views[event.tensor], k: event.tensor } };
    c.root = opened.root === null ? "L" : tensors[opened.root].symbol;
    if (event.kind === "backward") {
      const to = tensors[event.to], stored = (id, t) => view(header.arrays[id], t.shape, t.row);
      c.g = event.virtual ? opened.gradients[event.tensor] : stored(event.incoming, tensors[event.tensor]);
      c.returned = event.virtual ? opened.gradients[event.to] : stored(event.returned, to);
      c.total = event.virtual ? c.returned : stored(event.total, to);
    }
    return c;
  }

  // The terms g d of one element of what a pullback returned; null if there is no formula for them.
  function contribution(opened, event, i) {
    const c = context(opened, event), rule = rules[event.op], value = c.returned.at(i);
    let list = null;
    if (rule && rule.terms) list = rule.terms(c, event.operand, i);
    const result = { c, event, i, value, terms: null, rest: 0, missing: 0, adds: opened.backward.get(event.to).length > 1 };
    if (!list) return result;
    const known = list.map((term) => ({ ...term, g: c.g.at(term.j) })).filter((term) => term.g !== undefined && term.d !== undefined);
    for (const term of known) term.value = term.g * term.d;
    const sum = known.reduce((total, term) => total + term.value, 0), missing = list.length - known.length;
    const size = known.reduce((total, term) => total + Math.abs(term.value), 0);
    // A formula that does not give the recorded number is not shown, for example after an option that is not recorded.
    if (!missing && value !== undefined && Math.abs(sum - value) > 1e-8 * Math.max(size, 1e-300)) return result;
    return { ...result, terms: known, missing, rest: missing && value !== undefined ? value - sum : 0 };
  }

  const rowOf = (t, flat) => (t.batch && t.shape.length ? unravel(flat, t.shape)[0] : null);

  // The term to follow: the largest one, of the shown image if there is one.
  function follow(opened, part, image) {
    const t = opened.tensors[part.event.tensor];
    const own = part.terms.filter((term) => rowOf(t, term.j) === image);
    const largest = (list) => list.reduce((best, term) => (!best || Math.abs(term.value) > Math.abs(best.value) ? term : best), null);
    return largest(own.length ? own : part.terms);
  }

  // The steps from the loss to element `flat` of a tensor. Each has all contributions to its element.
  function chain(opened, tensor, flat, image) {
    const steps = [];
    let before = Infinity;
    for (let t = tensor, i = flat; ;) {
      const events = (opened.backward.get(t) || []).filter((entry) => entry.index < before || entry.event.virtual);
      if (!events.length) break;
      const parts = events.map((entry) => ({ ...contribution(opened, entry.event, i), index: entry.index }));
      const main = parts.reduce((a, b) => (Math.abs(b.value) > Math.abs(a.value) ? b : a));
      const term = main.terms && main.terms.length ? follow(opened, main, image) : null;
      steps.unshift({ tensor: t, flat: i, parts, main, term });
      if (!term) break;
      [t, i, before] = [main.event.tensor, term.j, main.index];
    }
    return steps;
  }

  // Selections that belong together. Element j of a value leads to the element of each operand that contributes most.
  function down(c, j, label, image, fixed) {
    const o = c.o[label], rule = rules[c.op] || {}, shape = o.t.shape, size = product(shape);
    if (size === 1) return 0;
    if (c.op === "linear") return downLinear(c, j, label, fixed);
    if (c.op === "matmul" && shape.length === 2 && c.y.t.shape.length === 2) return downMatmul(c, j, label, fixed);
    if (label === "a" && rule.source && rule.source(c, j) !== undefined) return rule.source(c, j);
    if (c.labels) return label === "input" ? image * shape[1] + c.labels[image] : Math.min(image, size - 1);
    if (size === c.y.v.size) return j;
    const free = (i) => (rowOf(o.t, i) === null || rowOf(o.t, i) === image) && o.v.at(i) !== undefined;
    if (shape.length <= c.y.t.shape.length) {
      const ok = shape.every((n, axis) => n === 1 || n === c.y.t.shape[axis + c.y.t.shape.length - shape.length]);
      if (ok) return broadcastIndex(j, c.y.t.shape, shape);
    }
    const leads = c.y.v.size > 1 && shape[0] === c.y.t.shape[0] ? (i) => unravel(i, shape)[0] === unravel(j, c.y.t.shape)[0] : () => true;
    let best = null;
    for (const i of everyIndex(size)) {
      if (free(i) && leads(i) && (best === null || Math.abs(o.v.at(i)) > Math.abs(o.v.at(best)))) best = i;
    }
    return best === null ? 0 : best;
  }

  function largestProduct(n, a, b) {
    let best = 0, size = -1;
    for (let i = 0; i < n; i++) {
      const p = Math.abs(a(i) * b(i));
      if (p > size) [best, size] = [i, p];
    }
    return best;
  }

  // The term of the sum over i that has a selected factor, or else the largest one.
  function downLinear(c, j, label, fixed) {
    const [out, inner] = c.o.weight.t.shape, k = j % out, n = Math.floor(j / out);
    if (label === "bias") return k;
    const x = fixed.get(c.o.input.k) - n * inner, w = fixed.get(c.o.weight.k) - k * inner, own = [x, w].find((m) => m >= 0 && m < inner);
    const i = own ?? largestProduct(inner, (m) => c.o.input.v.at(n * inner + m), (m) => c.o.weight.v.at(k * inner + m));
    return label === "input" ? n * inner + i : k * inner + i;
  }

  function downMatmul(c, j, label, fixed) {
    const inner = c.o.a.t.shape[1], columns = c.o.b.t.shape[1], n = Math.floor(j / columns), k = j % columns;
    const a = fixed.get(c.o.a.k) - n * inner, b = fixed.get(c.o.b.k);
    const own = a >= 0 && a < inner ? a : b % columns === k ? Math.floor(b / columns) : undefined;
    const i = own ?? largestProduct(inner, (m) => c.o.a.v.at(n * inner + m), (m) => c.o.b.v.at(m * columns + k));
    return label === "a" ? n * inner + i : i * columns + k;
  }

  // The element of each tensor that belongs to element `flat` of `tensor`: its path to the loss, and what leads to that.
  function related(opened, tensor, flat, image) {
    const fixed = new Map([[tensor, flat]]), loss = opened.root === null ? opened.tensors.length - 1 : opened.root;
    for (const step of chain(opened, tensor, flat, image)) fixed.set(step.tensor, step.flat);
    fixed.set(loss, 0);
    const events = [...opened.forward.values()].reverse();
    for (const event of events) {
      if (!fixed.has(event.tensor)) continue;
      const c = context(opened, event);
      for (const { label, tensor: k } of event.operands) {
        if (!fixed.has(k)) fixed.set(k, down(c, fixed.get(event.tensor), label, image, fixed));
      }
    }
    return fixed;
  }

  study.chain = { open, context, contribution, chain, related, rowOf };
})();

// The formulas of operations: in symbols, and as sums of terms with the numbers of one element.
//
// An entry of `rules` may have
//   forward(c)            LaTeX of the rule in symbols
//   element(c, j)         {index, terms, tail}: element j of the value as a sum of terms
//   back(c, label)        LaTeX of the gradient of an operand in symbols
//   terms(c, label, i)    [{j, d, tex}]: dL/da[i] is the sum of g[j] d over these terms; g is dL/dy
// c has the operands `c.o[label]` and the value `c.y`, each {t: tensor, v: view}, `c.options`, `c.labels` and `c.g`.
(function () {
  "use strict";
  const { tex, factor, unravel, ravel, broadcastIndex, product } = study.numbers;
  const rules = {};

  const named = (o, letters) => (o.t.shape.length ? `${o.t.symbol}[${letters}]` : o.t.symbol);
  const indexed = (t, flat) => (t.shape.length ? `${t.symbol}[${unravel(flat, t.shape).join(",")}]` : t.symbol);
  const at = (o, flat) => indexed(o.t, flat);
  const d = (c, s) => `\\frac{\\partial ${c.root}}{\\partial ${s}}`;
  const dy = (c) => d(c, c.y.t.symbol);
  const times = (c) => (c.y.t.shape.length ? "\\odot" : "\\cdot");
  const everyIndex = (n) => Array.from({ length: n }, (_, i) => i);

  // Elementwise operations of one operand: LaTeX of f and f' for a and y as LaTeX, and f' as a number.
  const logistic = (a) => (a < 0 ? Math.exp(a) / (1 + Math.exp(a)) : 1 / (1 + Math.exp(-a)));
  const bell = (a) => { const e = Math.exp(-Math.abs(a)); return e / (1 + e) ** 2; };
  const step = (a, y, x) => `\\underbrace{${tex(x.a > 0 ? 1 : 0)}}_{${a} ${x.a > 0 ? ">" : "\\le"} 0}`;
  const UNARY = {
    relu: { f: (a) => `\\max(0,\\, ${a})`, s: (a) => `\\mathbf{1}_{${a} > 0}`, n: step, d: (a) => (a > 0 ? 1 : 0) },
    tanh: { f: (a) => `\\tanh(${a})`, s: (a, y) => `\\left(1 - ${y}^2\\right)`,
      d: (a) => { const e = Math.exp(-2 * Math.abs(a)); return 4 * e / (1 + e) ** 2; } },
    sigmoid: { f: (a) => `\\frac{1}{1 + e^{-${a}}}`, s: (a, y) => `${y}\\,(1 - ${y})`, d: bell },
    exp: { f: (a) => `e^{${a}}`, s: (a, y) => y, d: (a, y) => y },
    expm1: { f: (a) => `e^{${a}} - 1`, s: (a) => `e^{${a}}`, d: (a) => Math.exp(a) },
    log: { f: (a) => `\\ln ${a}`, s: (a) => `\\frac{1}{${a}}`, d: (a) => 1 / a },
    log1p: { f: (a) => `\\ln(1 + ${a})`, s: (a) => `\\frac{1}{1 + ${a}}`, d: (a) => 1 / (1 + a) },
    negative: { f: (a) => `-${a}`, s: () => "(-1)", d: () => -1 },
    reciprocal: { f: (a) => `\\frac{1}{${a}}`, s: (a, y) => `\\left(-${y}^2\\right)`, d: (a, y) => -y * y },
    square: { f: (a) => `${a}^2`, s: (a) => `2\\,${a}`, d: (a) => 2 * a },
    sqrt: { f: (a) => `\\sqrt{${a}}`, s: (a, y) => `\\frac{1}{2\\,${y}}`, d: (a, y) => 1 / (2 * y) },
    sin: { f: (a) => `\\sin(${a})`, s: (a) => `\\cos(${a})`, d: (a) => Math.cos(a) },
    cos: { f: (a) => `\\cos(${a})`, s: (a) => `\\left(-\\sin(${a})\\right)`, d: (a) => -Math.sin(a) },
    abs: { f: (a) => `|${a}|`, s: (a) => `\\operatorname{sign}(${a})`, d: (a) => Math.sign(a) },
    silu: { f: (a) => `${a}\\,\\sigma(${a})`, s: (a) => `\\sigma(${a})\\left(1 + ${a}\\,(1 - \\sigma(${a}))\\right)`,
      d: (a) => logistic(a) + a * bell(a) },
  };
  for (const [name, u] of Object.entries(UNARY)) {
    const only = (c) => Object.values(c.o)[0];
    rules[name] = {
      forward: (c) => `${c.y.t.symbol} = ${u.f(only(c).t.symbol)}`,
      element: (c, j) => ({ terms: [{ tex: u.f(factor(only(c).v.at(j))), value: c.y.v.at(j) }] }),
      back: (c) => `${d(c, only(c).t.symbol)} = ${dy(c)} ${times(c)} ${u.s(only(c).t.symbol, c.y.t.symbol)}`,
      terms: (c, label, i) => {
        const a = only(c).v.at(i), y = c.y.v.at(i);
        const shown = u.n ? u.n(tex(a), tex(y), { a, y }) : u.s(factor(a), factor(y));
        return [{ j: i, d: u.d(a, y), tex: shown }];
      },
    };
  }

  // Elementwise operations of two operands, with broadcasting.
  const share = (a, b) => (a > b ? 1 : a === b ? 0.5 : 0);
  const BINARY = {
    add: { f: (a, b) => `${a} + ${b}`, d: [() => 1, () => 1], s: [() => "", () => ""] },
    subtract: { f: (a, b) => `${a} - ${b}`, d: [() => 1, () => -1], s: [() => "", () => "(-1)"] },
    multiply: { f: (a, b) => `${a} \\cdot ${b}`, d: [(a, b) => b, (a) => a], s: [(a, b) => b, (a) => a] },
    divide: { f: (a, b) => `\\frac{${a}}{${b}}`, d: [(a, b) => 1 / b, (a, b, y) => -y / b],
      s: [(a, b) => `\\frac{1}{${b}}`, (a, b, y) => `\\left(-\\frac{${y}}{${b}}\\right)`] },
    power: { f: (a, b) => `${a}^{${b}}`, d: [(a, b) => b * a ** (b - 1 + (b === 0)), (a, b, y) => (a === 0 ? 0 : y * Math.log(a))],
      s: [(a, b) => `${b}\\,${a}^{${b} - 1}`, (a, b, y) => `${y}\\,\\ln ${a}`] },
    maximum: { f: (a, b) => `\\max(${a},\\, ${b})`, d: [(a, b) => share(a, b), (a, b) => share(b, a)],
      s: [(a, b) => `\\mathbf{1}_{${a} > ${b}}`, (a, b) => `\\mathbf{1}_{${b} > ${a}}`] },
    minimum: { f: (a, b) => `\\min(${a},\\, ${b})`, d: [(a, b) => share(b, a), (a, b) => share(a, b)],
      s: [(a, b) => `\\mathbf{1}_{${a} < ${b}}`, (a, b) => `\\mathbf{1}_{${b} < ${a}}`] },
  };
  for (const [name, u] of Object.entries(BINARY)) {
    const pair = (c) => [c.o.a, c.o.b];
    const operandIndex = (c, o, j) => broadcastIndex(j, c.y.t.shape, o.t.shape);
    rules[name] = {
      forward: (c) => `${c.y.t.symbol} = ${u.f(...pair(c).map((o) => o.t.symbol))}`,
      element: (c, j) => {
        const shown = pair(c).map((o) => factor(o.v.at(operandIndex(c, o, j))));
        return { terms: [{ tex: u.f(...shown), value: c.y.v.at(j) }] };
      },
      back: (c, label) => {
        const k = label === "a" ? 0 : 1, o = c.o[label];
        const slope = u.s[k](...pair(c).map((x) => x.t.symbol), c.y.t.symbol);
        const whole = slope ? `${dy(c)} ${times(c)} ${slope}` : dy(c);
        const copies = product(c.y.t.shape) / product(o.t.shape);
        return `${d(c, o.t.symbol)} = ${copies > 1 ? `\\sum_{\\text{copies}} ${whole}` : whole}`;
      },
      terms: (c, label, i) => {
        const k = label === "a" ? 0 : 1, o = c.o[label], list = [];
        for (const j of copiesOf(c.y.t.shape, o.t.shape, i)) {
          const [a, b] = pair(c).map((x) => x.v.at(operandIndex(c, x, j))), y = c.y.v.at(j);
          const slope = u.s[k](factor(a), factor(b), factor(y));
          const shown = slope.includes("mathbf") ? tex(u.d[k](a, b, y)) : slope || "1";
          list.push({ j, d: u.d[k](a, b, y), tex: shown });
        }
        return list;
      },
    };
  }

  // The elements of `big` to which broadcasting copies element i of `small`.
  function copiesOf(big, small, i) {
    if (product(big) === product(small)) return [i];
    return everyIndex(product(big)).filter((j) => broadcastIndex(j, big, small) === i);
  }

  // Operations that only move elements: the index in the operand of element j of the value.
  const same = (c, j) => j;
  const permuted = (axes) => (c, j) => {
    const to = unravel(j, c.y.t.shape), from = [];
    axes(c).forEach((axis, k) => { from[axis] = to[k]; });
    return ravel(from, c.o.a.t.shape);
  };
  const reversed = (c) => everyIndex(c.o.a.t.shape.length).reverse();
  const swapped = (c) => {
    const axes = everyIndex(c.o.a.t.shape.length);
    const [p, q] = [c.options.axis1, c.options.axis2].map((axis) => (axis + axes.length) % axes.length);
    [axes[p], axes[q]] = [axes[q], axes[p]];
    return axes;
  };
  const MOVES = {
    reshape: same, flatten: same, squeeze: same, expand_dims: same,
    transpose: permuted((c) => (c.options.axes ? c.options.axes.map((x) => (x + c.o.a.t.shape.length) % c.o.a.t.shape.length) : reversed(c))),
    swapaxes: permuted(swapped),
    broadcast_to: (c, j) => broadcastIndex(j, c.y.t.shape, c.o.a.t.shape),
    getitem: (c, j) => picked(c, j),
  };
  // y[n] = a[rows[n], columns[n]], with an array of indices per axis. Other indices are not recorded.
  function picked(c, j) {
    const axes = c.o.a.t.shape.map((_, axis) => c.o[`index[${axis}]`]);
    const plain = axes.length && axes.every((o) => o && o.t.shape.length === 1) && c.y.t.shape.length === 1;
    return plain ? ravel(axes.map((o) => o.v.at(j)), c.o.a.t.shape) : undefined;
  }
  for (const [name, source] of Object.entries(MOVES)) {
    const operator = name === "transpose" ? (s) => `${s}^\\top` : (s) => `\\operatorname{${name.replace("_", "\\_")}}(${s})`;
    rules[name] = {
      source,
      forward: (c) => (name === "getitem" && picked(c, 0) !== undefined
        ? `${named(c.y, "n")} = ${named(c.o.a, "n, t_n")}` : `${c.y.t.symbol} = ${operator(c.o.a.t.symbol)}`),
      element: (c, j) => {
        const i = source(c, j);
        return i === undefined ? null : { terms: [{ tex: at(c.o.a, i), value: c.y.v.at(j) }] };
      },
      back: (c) => (name === "getitem" && picked(c, 0) !== undefined
        ? `${d(c, named(c.o.a, "n, k"))} = ${d(c, named(c.y, "n"))} \\cdot \\mathbf{1}_{k = t_n}`
        : `${d(c, c.o.a.t.symbol)} = ${dy(c)} \\text{ at the positions that the elements came from}`),
      terms: (c, label, i) => {
        if (source(c, 0) === undefined) return null;
        if (source === same) return [{ j: i, d: 1, tex: "1" }];
        return everyIndex(product(c.y.t.shape)).filter((j) => source(c, j) === i).map((j) => ({ j, d: 1, tex: "1" }));
      },
    };
  }

  study.formulas = { rules, named, indexed, at, d, dy, everyIndex, copiesOf };
})();

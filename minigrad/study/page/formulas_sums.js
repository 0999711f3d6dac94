// The formulas of reductions, softmax, losses and normalization. See formulas.js for the format.
(function () {
  "use strict";
  const { tex, factor, unravel, ravel, product } = study.numbers;
  const { rules, named, at, d, dy, everyIndex } = study.formulas;

  // The axes of a reduction, from 0.
  function axesOf(c, fallback) {
    const rank = c.o.a.t.shape.length, axis = c.options.axis === undefined ? fallback : c.options.axis;
    if (axis === null || axis === undefined || !rank) return everyIndex(rank);
    return [].concat(axis).map((x) => (Number(x) + rank) % rank);
  }

  // The flat index of the reduced element that element i of the operand contributes to.
  function target(c, i, axes) {
    const index = unravel(i, c.o.a.t.shape), keep = c.y.t.shape.length === index.length && axes.length < index.length;
    if (keep) return ravel(index.map((x, axis) => (axes.includes(axis) ? 0 : x)), c.y.t.shape);
    const rest = index.filter((_, axis) => !axes.includes(axis));
    return c.y.t.shape.length === rest.length ? ravel(rest, c.y.t.shape) : 0;
  }
  const group = (c, j, axes) => everyIndex(product(c.o.a.t.shape)).filter((i) => target(c, i, axes) === j);
  const countOf = (c, axes) => axes.reduce((n, axis) => n * c.o.a.t.shape[axis], 1);

  for (const name of ["sum", "mean"]) {
    const mean = name === "mean";
    const scale = (c) => (mean ? countOf(c, axesOf(c, null)) : 1);
    const over = (c) => (mean ? `\\frac{1}{${scale(c)}} \\sum` : "\\sum");
    rules[name] = {
      forward: (c) => `${c.y.t.symbol} = ${over(c)} ${c.o.a.t.symbol}`,
      element: (c, j) => {
        const n = scale(c);
        return { terms: group(c, j, axesOf(c, null)).map((i) => {
          const a = c.o.a.v.at(i);
          return { tex: mean ? `\\frac{${tex(a)}}{${n}}` : factor(a), value: a / n, uses: [c.o.a.k, i] };
        }) };
      },
      back: (c) => `${d(c, c.o.a.t.symbol)} = ${dy(c)}${mean ? ` \\cdot \\frac{1}{${scale(c)}}` : ""}`,
      terms: (c, label, i) => {
        const n = scale(c);
        return [{ j: target(c, i, axesOf(c, null)), d: 1 / n, tex: mean ? `\\frac{1}{${n}}` : "1" }];
      },
    };
  }

  for (const name of ["max", "min"]) {
    rules[name] = {
      forward: (c) => `${c.y.t.symbol} = \\${name} ${c.o.a.t.symbol}`,
      element: (c, j) => ({ terms: [{ tex: `\\${name}(\\dots)`, value: c.y.v.at(j) }] }),
      back: (c) => `${d(c, c.o.a.t.symbol)} = ${dy(c)} \\cdot \\mathbf{1}_{${c.o.a.t.symbol} = ${c.y.t.symbol}}`,
      terms: (c, label, i) => {
        const axes = axesOf(c, null), j = target(c, i, axes), top = c.y.v.at(j);
        const ties = group(c, j, axes).filter((k) => c.o.a.v.at(k) === top).length;
        const slope = c.o.a.v.at(i) === top ? 1 / ties : 0;
        return [{ j, d: slope, tex: tex(slope) }];
      },
    };
  }

  // The row of softmax that element i belongs to: indices, the probability of each, and the position of i.
  function row(c, o, i, axes) {
    const rank = o.t.shape.length, index = unravel(i, o.t.shape);
    const members = rank === 2 && axes.length === 1 && axes[0] === 1
      ? everyIndex(o.t.shape[1]).map((k) => index[0] * o.t.shape[1] + k)
      : everyIndex(product(o.t.shape)).filter((k) => unravel(k, o.t.shape).every((x, axis) => axes.includes(axis) || x === index[axis]));
    const values = members.map((k) => o.v.at(k)), top = Math.max(...values);
    const e = values.map((x) => Math.exp(x - top)), s = e.reduce((a, b) => a + b, 0);
    return { members, values, p: e.map((x) => x / s), own: members.indexOf(i) };
  }
  const sumOfExponentials = (values) => values.map((x) => `e^{${tex(x)}}`);
  function shortSum(parts) {
    return parts.length > 4 ? `${parts.slice(0, 3).join(" + ")} + \\dots + ${parts[parts.length - 1]}` : parts.join(" + ");
  }

  rules.logsumexp = {
    forward: (c) => `${c.y.t.symbol} = \\ln \\sum e^{${c.o.a.t.symbol}}`,
    element: (c, j) => {
      const axes = axesOf(c, -1), values = group(c, j, axes).map((i) => c.o.a.v.at(i));
      return { terms: [{ tex: `\\ln\\left(${shortSum(sumOfExponentials(values))}\\right)`, value: c.y.v.at(j) }] };
    },
    back: (c) => `${d(c, c.o.a.t.symbol)} = ${dy(c)} \\cdot \\operatorname{softmax}(${c.o.a.t.symbol})`,
    terms: (c, label, i) => {
      const axes = axesOf(c, -1), r = row(c, c.o.a, i, axes);
      return [{ j: target(c, i, axes), d: r.p[r.own], tex: `\\underbrace{${tex(r.p[r.own])}}_{\\text{softmax}}` }];
    },
  };

  rules.softmax = {
    forward: (c) => `${c.y.t.symbol} = \\frac{e^{${c.o.a.t.symbol}}}{\\sum e^{${c.o.a.t.symbol}}}`,
    element: (c, j) => {
      const r = row(c, c.o.a, j, axesOf(c, -1));
      return { terms: [{ tex: `\\frac{e^{${tex(c.o.a.v.at(j))}}}{${shortSum(sumOfExponentials(r.values))}}`, value: c.y.v.at(j) }] };
    },
    back: (c) => `${d(c, c.o.a.t.symbol)} = ${c.y.t.symbol} \\odot \\left(${dy(c)} - \\textstyle\\sum ${dy(c)} \\odot ${c.y.t.symbol}\\right)`,
    terms: (c, label, i) => {
      const members = row(c, c.o.a, i, axesOf(c, -1)).members, y = c.y.v.at(i);
      return members.map((j) => (j === i
        ? { j, d: y * (1 - y), tex: `${tex(y)} \\cdot (1 - ${tex(y)})` }
        : { j, d: -y * c.y.v.at(j), tex: `(-${tex(y)} \\cdot ${tex(c.y.v.at(j))})` }));
    },
  };

  rules.log_softmax = {
    forward: (c) => `${c.y.t.symbol} = ${c.o.a.t.symbol} - \\ln \\sum e^{${c.o.a.t.symbol}}`,
    element: (c, j) => {
      const r = row(c, c.o.a, j, axesOf(c, -1));
      return { terms: [{ tex: `${tex(c.o.a.v.at(j))} - \\ln\\left(${shortSum(sumOfExponentials(r.values))}\\right)`, value: c.y.v.at(j) }] };
    },
    back: (c) => `${d(c, c.o.a.t.symbol)} = ${dy(c)} - e^{${c.y.t.symbol}} \\sum ${dy(c)}`,
    terms: (c, label, i) => {
      const p = Math.exp(c.y.v.at(i));
      return row(c, c.o.a, i, axesOf(c, -1)).members.map((j) => (j === i
        ? { j, d: 1 - p, tex: `(1 - ${tex(p)})` } : { j, d: -p, tex: factor(-p) }));
    },
  };

  // cross_entropy and nll_loss: the factor of each loss, and the smoothed one-hot label.
  const plainLoss = (c) => !c.options.weight && c.labels && c.o.input.t.shape.length === 2;
  const scaleOf = (c) => (c.options.reduction === undefined || c.options.reduction === "mean" ? c.o.input.t.shape[0] : 1);
  const probability = (c) => `p[n,k] = \\frac{e^{${named(c.o.input, "n,k")}}}{\\sum_j e^{${named(c.o.input, "n,j")}}}`;
  const lossIndex = (c, n) => (c.y.t.shape.length ? n : 0);

  rules.cross_entropy = {
    forward: (c) => `${c.y.t.symbol} = ${scaleOf(c) > 1 ? `\\frac{1}{${scaleOf(c)}} ` : ""}\\sum_n \\Big(\\ln \\sum_k e^{${named(c.o.input, "n,k")}} - ${named(c.o.input, "n, t_n")}\\Big)`,
    element: (c) => {
      if (!plainLoss(c) || c.options.label_smoothing || c.y.t.shape.length) return null;
      const [n, classes] = c.o.input.t.shape, scale = scaleOf(c);
      const index = `${c.y.t.symbol} = -${scale > 1 ? `\\frac{1}{${scale}} ` : ""}\\sum_n \\ln p[n, t_n], \\quad ${probability(c)}`;
      return { index, terms: everyIndex(n).filter((k) => c.o.input.v.at(k * classes) !== undefined).map((k) => {
        const p = row(c, c.o.input, k * classes + c.labels[k], [1]), loss = -Math.log(p.p[p.own]);
        return { tex: `\\frac{-\\ln ${tex(p.p[p.own])}}{${scale}}`, value: loss / scale, uses: [c.o.input.k, k * classes + c.labels[k]] };
      }) };
    },
    back: (c) => `${d(c, named(c.o.input, "n,k"))} = ${dy(c)} \\cdot \\frac{p[n,k] - \\mathbf{1}_{k = t_n}}{${scaleOf(c)}}, \\quad ${probability(c)}`,
    terms: (c, label, i) => {
      if (!plainLoss(c)) return null;
      const [n, k] = unravel(i, c.o.input.t.shape), e = c.options.label_smoothing || 0, classes = c.o.input.t.shape[1];
      const r = row(c, c.o.input, i, [1]), q = (k === c.labels[n] ? 1 - e : 0) + e / classes, scale = scaleOf(c);
      return [{ j: lossIndex(c, n), d: (r.p[r.own] - q) * (1 / scale), tex: `\\frac{${tex(r.p[r.own])} - ${tex(q)}}{${scale}}` }];
    },
  };

  rules.nll_loss = {
    forward: (c) => `${c.y.t.symbol} = -${scaleOf(c) > 1 ? `\\frac{1}{${scaleOf(c)}} ` : ""}\\sum_n ${named(c.o.input, "n, t_n")}`,
    element: (c) => {
      if (!plainLoss(c) || c.y.t.shape.length) return null;
      const [n, classes] = c.o.input.t.shape, scale = scaleOf(c);
      return { terms: everyIndex(n).map((k) => [k, c.o.input.v.at(k * classes + c.labels[k])]).filter(([, x]) => x !== undefined)
        .map(([, x]) => ({ tex: `\\frac{-${factor(x)}}{${scale}}`, value: -x / scale })) };
    },
    back: (c) => `${d(c, named(c.o.input, "n,k"))} = -${dy(c)} \\cdot \\frac{\\mathbf{1}_{k = t_n}}{${scaleOf(c)}}`,
    terms: (c, label, i) => {
      if (!plainLoss(c)) return null;
      const [n, k] = unravel(i, c.o.input.t.shape), scale = scaleOf(c), own = k === c.labels[n];
      return [{ j: lossIndex(c, n), d: own ? -1 / scale : 0, tex: own ? `\\left(-\\frac{1}{${scale}}\\right)` : "0" }];
    },
  };

  rules.mse_loss = {
    forward: (c) => `${c.y.t.symbol} = \\frac{1}{${product(c.o.input.t.shape)}} \\sum (${c.o.input.t.symbol} - ${c.o.target.t.symbol})^2`,
    element: () => null,
    back: (c, label) => `${d(c, c.o[label].t.symbol)} = ${dy(c)} \\cdot \\frac{${label === "input" ? "" : "-"}2}{${product(c.o.input.t.shape)}} (${c.o.input.t.symbol} - ${c.o.target.t.symbol})`,
    terms: (c, label, i) => {
      const sign = label === "input" ? 2 : -2, n = c.options.reduction === "mean" || !c.options.reduction ? product(c.o.input.t.shape) : 1;
      const x = c.o.input.v.at(i), t = c.o.target.v.at(i);
      return [{ j: c.y.t.shape.length ? i : 0, d: (sign / n) * (x - t), tex: `\\frac{${sign}}{${n}} (${tex(x)} - ${factor(t)})` }];
    },
  };

  study.sums = { axesOf, target };
})();

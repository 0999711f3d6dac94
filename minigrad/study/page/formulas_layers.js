// The formulas of layers: linear, matmul, convolution, pooling, dropout and batch normalization. See formulas.js.
(function () {
  "use strict";
  const { tex, factor, unravel, ravel, product } = study.numbers;
  const { rules, named, at, d, dy, everyIndex } = study.formulas;

  rules.linear = {
    forward: (c) => `${c.y.t.symbol} = ${c.o.input.t.symbol}\\,${c.o.weight.t.symbol}^\\top${c.o.bias ? ` + ${c.o.bias.t.symbol}` : ""}`,
    element: (c, j) => {
      const [out, inner] = c.o.weight.t.shape, k = j % out, n = Math.floor(j / out);
      return {
        index: `${named(c.y, "n,k")} = \\sum_i ${named(c.o.input, "n,i")}\\,${named(c.o.weight, "k,i")}${c.o.bias ? ` + ${named(c.o.bias, "k")}` : ""}`,
        terms: everyIndex(inner).map((i) => {
          const x = c.o.input.v.at(n * inner + i), w = c.o.weight.v.at(k * inner + i);
          return { tex: `${factor(x)} \\cdot ${factor(w)}`, value: x * w, uses: [c.o.weight.k, k * inner + i] };
        }),
        tail: c.o.bias ? [{ tex: factor(c.o.bias.v.at(k)), note: named(c.o.bias, k) }] : [],
      };
    },
    back: (c, label) => ({
      input: () => `${d(c, named(c.o.input, "n,i"))} = \\sum_k ${d(c, named(c.y, "n,k"))}\\,${named(c.o.weight, "k,i")}`,
      weight: () => `${d(c, named(c.o.weight, "k,i"))} = \\sum_n ${d(c, named(c.y, "n,k"))}\\,${named(c.o.input, "n,i")}`,
      bias: () => `${d(c, named(c.o.bias, "k"))} = \\sum_n ${d(c, named(c.y, "n,k"))}`,
    })[label](),
    terms: (c, label, i) => {
      const [out, inner] = c.o.weight.t.shape, rows = product(c.y.t.shape) / out;
      if (label === "input") {
        const n = Math.floor(i / inner), column = i % inner;
        return everyIndex(out).map((k) => {
          const w = c.o.weight.v.at(k * inner + column);
          return { j: n * out + k, d: w, tex: factor(w) };
        });
      }
      const k = label === "bias" ? i : Math.floor(i / inner);
      return everyIndex(rows).map((n) => {
        const x = label === "bias" ? 1 : c.o.input.v.at(n * inner + (i % inner));
        return { j: n * out + k, d: x, tex: factor(x) };
      });
    },
  };

  const matrices = (c) => c.o.a.t.shape.length === 2 && c.o.b.t.shape.length === 2;
  rules.matmul = {
    forward: (c) => `${c.y.t.symbol} = ${c.o.a.t.symbol}\\,${c.o.b.t.symbol}`,
    element: (c, j) => {
      if (!matrices(c)) return null;
      const inner = c.o.a.t.shape[1], columns = c.o.b.t.shape[1], n = Math.floor(j / columns), k = j % columns;
      return {
        index: `${named(c.y, "n,k")} = \\sum_i ${named(c.o.a, "n,i")}\\,${named(c.o.b, "i,k")}`,
        terms: everyIndex(inner).map((i) => {
          const a = c.o.a.v.at(n * inner + i), b = c.o.b.v.at(i * columns + k);
          return { tex: `${factor(a)} \\cdot ${factor(b)}`, value: a * b, uses: [c.o.b.k, i * columns + k] };
        }),
      };
    },
    back: (c, label) => (label === "a"
      ? `${d(c, c.o.a.t.symbol)} = ${dy(c)}\\,${c.o.b.t.symbol.includes("^") ? `\\left(${c.o.b.t.symbol}\\right)` : c.o.b.t.symbol}^\\top`
      : `${d(c, c.o.b.t.symbol)} = ${c.o.a.t.symbol}^\\top\\,${dy(c)}`),
    terms: (c, label, i) => {
      if (!matrices(c)) return null;
      const [rows, inner] = c.o.a.t.shape, columns = c.o.b.t.shape[1];
      if (label === "a") {
        const n = Math.floor(i / inner), m = i % inner;
        return everyIndex(columns).map((k) => {
          const b = c.o.b.v.at(m * columns + k);
          return { j: n * columns + k, d: b, tex: factor(b) };
        });
      }
      const m = Math.floor(i / columns), k = i % columns;
      return everyIndex(rows).map((n) => {
        const a = c.o.a.v.at(n * inner + m);
        return { j: n * columns + k, d: a, tex: factor(a) };
      });
    },
  };

  const pair = (x, fallback) => (x === undefined || x === null ? fallback : Array.isArray(x) ? x : [x, x]);

  // Calls visit(input index, weight index) for each product in element j of a convolution.
  function window2d(c, j, visit) {
    const [, channels, height, width] = c.o.input.t.shape, [outputs, inner, kh, kw] = c.o.weight.t.shape;
    const [sh, sw] = pair(c.options.stride, [1, 1]), [ph, pw] = pair(c.options.padding, [0, 0]);
    const [dh, dw] = pair(c.options.dilation, [1, 1]), [n, o, h, w] = unravel(j, c.y.t.shape);
    const first = Math.floor(o / (outputs / (c.options.groups || 1))) * inner;
    for (let k = 0; k < inner; k++) for (let p = 0; p < kh; p++) for (let q = 0; q < kw; q++) {
      const row = h * sh - ph + p * dh, column = w * sw - pw + q * dw;
      if (row < 0 || column < 0 || row >= height || column >= width) continue;
      visit(((n * channels + first + k) * height + row) * width + column, ((o * inner + k) * kh + p) * kw + q);
    }
  }

  rules.conv2d = {
    forward: (c) => `${named(c.y, "n,o,h,w")} = \\sum_{c,p,q} ${named(c.o.weight, "o,c,p,q")}\\,${named(c.o.input, "n,c,h+p,w+q")}${c.o.bias ? ` + ${named(c.o.bias, "o")}` : ""}`,
    element: (c, j) => {
      const terms = [];
      window2d(c, j, (i, k) => {
        const x = c.o.input.v.at(i), w = c.o.weight.v.at(k);
        terms.push({ tex: `${factor(w)} \\cdot ${factor(x)}`, value: w * x });
      });
      const o = unravel(j, c.y.t.shape)[1];
      return { terms, tail: c.o.bias ? [{ tex: factor(c.o.bias.v.at(o)), note: named(c.o.bias, o) }] : [] };
    },
    back: (c, label) => ({
      input: () => `${d(c, named(c.o.input, "n,c,r,s"))} = \\sum_{o,p,q} ${d(c, named(c.y, "n,o,r-p,s-q"))}\\,${named(c.o.weight, "o,c,p,q")}`,
      weight: () => `${d(c, named(c.o.weight, "o,c,p,q"))} = \\sum_{n,h,w} ${d(c, named(c.y, "n,o,h,w"))}\\,${named(c.o.input, "n,c,h+p,w+q")}`,
      bias: () => `${d(c, named(c.o.bias, "o"))} = \\sum_{n,h,w} ${d(c, named(c.y, "n,o,h,w"))}`,
    })[label](),
    terms: (c, label, i) => {
      const list = [], [batch, outputs, height, width] = c.y.t.shape;
      const only = label === "weight" ? unravel(i, c.o.weight.t.shape)[0] : label === "bias" ? i : null;
      const image = label === "input" ? unravel(i, c.o.input.t.shape)[0] : null;
      for (let n = 0; n < batch; n++) for (let o = 0; o < outputs; o++) {
        if ((only !== null && o !== only) || (image !== null && n !== image)) continue;
        for (let s = 0; s < height * width; s++) {
          const j = (n * outputs + o) * height * width + s;
          if (c.g.at(j) === undefined) continue;
          if (label === "bias") list.push({ j, d: 1, tex: "1" });
          else window2d(c, j, (x, k) => {
            if ((label === "weight" ? k : x) !== i) return;
            const slope = label === "weight" ? c.o.input.v.at(x) : c.o.weight.v.at(k);
            list.push({ j, d: slope, tex: factor(slope) });
          });
        }
      }
      // The gradients of the other images may not be stored. Each image has as many terms.
      const missing = label !== "input" && c.g.row !== null ? list.length * (batch - 1) : 0;
      return missing ? list.concat(Array.from({ length: missing }, () => ({}))) : list;
    },
  };

  // The pixels of the window of element j, and the position of its first maximum.
  function pool(c, j) {
    const [, channels, height, width] = c.o.input.t.shape, [n, k, h, w] = unravel(j, c.y.t.shape);
    const size = pair(c.options.kernel_size, [2, 2]), [sh, sw] = pair(c.options.stride, size), [ph, pw] = pair(c.options.padding, [0, 0]);
    const pixels = [];
    for (let p = 0; p < size[0]; p++) for (let q = 0; q < size[1]; q++) {
      const row = h * sh - ph + p, column = w * sw - pw + q;
      if (row < 0 || column < 0 || row >= height || column >= width) continue;
      pixels.push(((n * channels + k) * height + row) * width + column);
    }
    return { pixels, area: size[0] * size[1], top: pixels.find((i) => c.o.input.v.at(i) === c.y.v.at(j)) };
  }

  // The windows that contain pixel i.
  function windowsOf(c, i) {
    const [n, k] = unravel(i, c.o.input.t.shape), [, channels, height, width] = c.y.t.shape;
    return everyIndex(height * width).map((s) => (n * channels + k) * height * width + s).filter((j) => pool(c, j).pixels.includes(i));
  }

  rules.max_pool2d = {
    forward: (c) => `${named(c.y, "n,c,h,w")} = \\max_{\\text{window}} ${c.o.input.t.symbol}`,
    element: (c, j) => ({ terms: [{ tex: `\\max(${pool(c, j).pixels.slice(0, 9).map((i) => tex(c.o.input.v.at(i))).join(",\\, ")})`, value: c.y.v.at(j) }] }),
    back: (c) => `${d(c, c.o.input.t.symbol)} = ${dy(c)} \\text{ at the first maximum of each window, else } 0`,
    terms: (c, label, i) => windowsOf(c, i).map((j) => {
      const slope = pool(c, j).top === i ? 1 : 0;
      return { j, d: slope, tex: `\\underbrace{${slope}}_{\\text{${slope ? "the maximum" : "not the maximum"}}}` };
    }),
  };

  rules.avg_pool2d = {
    forward: (c) => `${named(c.y, "n,c,h,w")} = \\operatorname{mean}_{\\text{window}} ${c.o.input.t.symbol}`,
    element: (c, j) => {
      const w = pool(c, j);
      return { terms: w.pixels.map((i) => ({ tex: `\\frac{${tex(c.o.input.v.at(i))}}{${w.area}}`, value: c.o.input.v.at(i) / w.area })) };
    },
    back: (c) => `${d(c, c.o.input.t.symbol)} = \\sum_{\\text{windows}} ${dy(c)} \\cdot \\frac{1}{\\text{area}}`,
    terms: (c, label, i) => windowsOf(c, i).map((j) => ({ j, d: 1 / pool(c, j).area, tex: `\\frac{1}{${pool(c, j).area}}` })),
  };

  rules.dropout = {
    forward: (c) => `${c.y.t.symbol} = ${c.o.input.t.symbol} \\odot m, \\quad m \\in \\{0,\\, \\tfrac{1}{1 - p}\\}`,
    element: (c, j) => {
      const a = c.o.input.v.at(j), y = c.y.v.at(j);
      return { terms: [{ tex: `${factor(a)} \\cdot ${a ? `\\underbrace{${tex(y / a)}}_{m}` : "m"}`, value: y }] };
    },
    back: (c) => `${d(c, c.o.input.t.symbol)} = ${dy(c)} \\odot m`,
    // The mask is not recorded; the gradient that was returned shows it.
    terms: (c, label, i) => {
      const g = c.g.at(i), kept = g ? c.returned.at(i) / g : c.o.input.v.at(i) ? c.y.v.at(i) / c.o.input.v.at(i) : 0;
      return [{ j: i, d: kept, tex: `\\underbrace{${tex(kept)}}_{m}` }];
    },
  };

  // Batch normalization: per channel, the values, their mean and deviation.
  function channel(c, k) {
    const shape = c.o.input.t.shape;
    const members = everyIndex(product(shape)).filter((i) => unravel(i, shape)[1] === k);
    const values = members.map((i) => c.o.input.v.at(i)), n = members.length;
    const mean = values.reduce((a, b) => a + b, 0) / n;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / n;
    const s = Math.sqrt(variance + (c.options.eps === undefined ? 1e-5 : c.options.eps));
    return { members, mean, s, n, unit: values.map((x) => (x - mean) / s) };
  }
  const complete = (c) => c.o.input.v.row === null && (c.options.training || c.options.running_mean === null);

  rules.batch_norm = {
    forward: (c) => `${c.y.t.symbol} = ${c.o.weight ? `${c.o.weight.t.symbol}\\,` : ""}\\hat x${c.o.bias ? ` + ${c.o.bias.t.symbol}` : ""}, \\quad \\hat x = \\frac{${c.o.input.t.symbol} - \\mu}{\\sqrt{\\sigma^2 + \\varepsilon}}`,
    element: (c, j) => {
      if (!complete(c)) return null;
      const k = unravel(j, c.y.t.shape)[1], ch = channel(c, k);
      const unit = `\\frac{${tex(c.o.input.v.at(j))} - ${factor(ch.mean)}}{${tex(ch.s)}}`;
      return { terms: [{ tex: `${c.o.weight ? `${factor(c.o.weight.v.at(k))} \\cdot ` : ""}${unit}`, value: 0 }],
        tail: c.o.bias ? [{ tex: factor(c.o.bias.v.at(k)), note: named(c.o.bias, k) }] : [] };
    },
    back: (c, label) => ({
      input: () => `${d(c, c.o.input.t.symbol)} = \\frac{\\delta - \\overline{\\delta} - \\hat x\\,\\overline{\\delta \\hat x}}{\\sqrt{\\sigma^2 + \\varepsilon}}, \\quad \\delta = ${c.o.weight ? `${c.o.weight.t.symbol} ` : ""}${dy(c)}`,
      weight: () => `${d(c, c.o.weight.t.symbol)} = \\sum ${dy(c)}\\,\\hat x`,
      bias: () => `${d(c, c.o.bias.t.symbol)} = \\sum ${dy(c)}`,
    })[label](),
    terms: (c, label, i) => {
      if (!complete(c)) return null;
      const k = label === "input" ? unravel(i, c.o.input.t.shape)[1] : i, ch = channel(c, k);
      if (label === "bias") return ch.members.map((j) => ({ j, d: 1, tex: "1" }));
      if (label === "weight") return ch.members.map((j, p) => ({ j, d: ch.unit[p], tex: factor(ch.unit[p]) }));
      const own = ch.members.indexOf(i), weight = c.o.weight ? c.o.weight.v.at(k) : 1;
      return ch.members.map((j, p) => {
        const slope = (weight / ch.s) * ((p === own ? 1 : 0) - 1 / ch.n - (ch.unit[own] * ch.unit[p]) / ch.n);
        return { j, d: slope, tex: factor(slope) };
      });
    },
  };
})();

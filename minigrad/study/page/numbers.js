// Numbers as text and as LaTeX, indices of arrays, and views of recorded arrays.
(function () {
  "use strict";

  // Four significant digits. The attribute data-value always has the full number.
  function text(x) {
    if (x === undefined) return "not stored";
    if (Number.isNaN(x)) return "NaN";
    if (!Number.isFinite(x)) return x < 0 ? "−∞" : "∞";
    const size = Math.abs(x);
    const short = size !== 0 && (size < 1e-3 || size >= 1e6) ? x.toExponential(3) : String(Number(x.toPrecision(4)));
    return short.replace(/\.?0+e/, "e").replace("e+", "e").replaceAll("-", "−");
  }

  function tex(x) {
    if (x === undefined) return "\\text{?}";
    let short = text(x).replaceAll("−", "-").replace("∞", "\\infty").replace("NaN", "\\text{NaN}");
    short = short.replace(/e(-?\d+)/, "\\cdot 10^{$1}").replace(/^1\\cdot /, "").replace(/^-1\\cdot /, "-");
    return `\\htmlData{value=${String(x)}}{${short}}`;
  }

  // A factor of a product, in parentheses if it is negative.
  const factor = (x) => (x < 0 ? `(${tex(x)})` : tex(x));

  function span(x, name) {
    const element = document.createElement("span");
    element.className = "number";
    element.dataset.value = String(x);
    if (name) element.dataset.name = name;
    element.textContent = text(x);
    return element;
  }

  const product = (shape) => shape.reduce((a, b) => a * b, 1);

  function unravel(flat, shape) {
    const index = new Array(shape.length);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = flat % shape[axis];
      flat = Math.floor(flat / shape[axis]);
    }
    return index;
  }

  const ravel = (index, shape) => index.reduce((flat, i, axis) => flat * shape[axis] + i, 0);

  // The flat index in `small` of the element that broadcasting copies to element `flat` of `big`.
  function broadcastIndex(flat, big, small) {
    const index = unravel(flat, big).slice(big.length - small.length);
    return ravel(index.map((i, axis) => (small[axis] === 1 ? 0 : i)), small);
  }

  // A recorded array, of which only the row `row` of axis 0 may be stored. `at` returns undefined for other rows.
  function view(array, shape, row) {
    const size = product(shape), rest = shape.length ? size / shape[0] : 1;
    const partial = row !== null && row !== undefined && array.data.length < size;
    function at(flat) {
      if (!partial) return array.data[flat];
      return Math.floor(flat / rest) === row ? array.data[flat - row * rest] : undefined;
    }
    return { data: array.data, shape, size, row: partial ? row : null, first: partial ? row * rest : 0, at };
  }

  function range(data) {
    let low = Infinity, high = -Infinity;
    for (const x of data) {
      if (x < low) low = x;
      if (x > high) high = x;
    }
    return [low, high];
  }

  const norm = (data) => Math.sqrt(data.reduce((sum, x) => sum + x * x, 0));

  // "W_1" as text: "W₁".
  function plain(symbol) {
    const digits = (s) => s.replace(/\d/g, (d) => "₀₁₂₃₄₅₆₇₈₉"[d]);
    return symbol
      .replace(/\\(?:text|mathrm|mathit|operatorname)\{([^}]*)\}/g, "$1")
      .replace(/_\{([^}]*)\}|_(\w)/g, (_, a, b) => (/^\d+$/.test(a || b) ? digits(a || b) : ` ${a || b}`))
      .replace(/\\hat\{?(\w)\}?/g, "$1^").replace(/\\([a-z]+)/gi, "$1").replace(/[{}]/g, "");
  }

  study.numbers = { text, tex, factor, span, product, unravel, ravel, broadcastIndex, view, range, norm, plain };
})();

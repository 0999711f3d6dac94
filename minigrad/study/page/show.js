// Formulas with the numbers of one element, rendered by KaTeX.
(function () {
  "use strict";
  const { tex, factor, text } = study.numbers;
  const { rules, indexed, at, d } = study.formulas;
  const { element } = study.arrays;
  const SHOWN = 3; // terms of a longer sum that are written out: the largest ones

  function math(source, display) {
    const e = element(display ? "div" : "span", display ? "formula" : "");
    if (display) [e.tabIndex, e.role] = [0, "math"];
    katex.render(source, e, { displayMode: !!display, trust: (c) => c.command === "\\htmlData", strict: false, throwOnError: false });
    if (display) e.removeAttribute("role");
    return e;
  }

  // A sum as lines of LaTeX: the largest terms and the selected one, the rest as one number, the tail, and the value.
  // With `adds`, the sum is added to what is there already.
  function sum(left, terms, { tail, value, rest, missing, adds, selected = -1 }) {
    let shown = terms.map((_, k) => k);
    if (terms.length > SHOWN + 2) {
      shown.sort((a, b) => (b === selected) - (a === selected) || Math.abs(terms[b].value) - Math.abs(terms[a].value));
      shown = shown.slice(0, SHOWN).sort((a, b) => a - b);
    }
    const others = terms.filter((_, k) => !shown.includes(k)), named = terms.length > 1 ? selected : -1;
    const first = shown.map((k) => (k === named ? `\\underbrace{${terms[k].tex}}_{\\text{selected}}` : terms[k].tex)).join(" + ") || "0";
    const lines = [`${left} &${adds ? "\\mathrel{+}" : ""}= ${first}`], extra = [];
    if (others.length) {
      const more = others.reduce((total, term) => total + term.value, 0);
      extra.push(`\\underbrace{${factor(more)}}_{\\text{${others.length} other ${others.length > 1 ? "terms" : "term"}}}`);
    }
    if (missing) extra.push(`\\underbrace{${factor(rest)}}_{\\text{${missing} ${missing > 1 ? "terms" : "term"} of other images}}`);
    for (const item of tail || []) extra.push(item.note ? `\\underbrace{${item.tex}}_{${item.note}}` : item.tex);
    if (extra.length) lines.push(`&\\quad {} + ${extra.join(" + ")}`);
    if (![tex(value), factor(value)].includes(first) || extra.length) lines.push(`&= ${tex(value)}`);
    return `\\begin{aligned} ${lines.join(" \\\\[2pt] ")} \\end{aligned}`;
  }

  // Element j of a value, or null if there is no formula with numbers. selection: the selected element of each tensor.
  function forward(c, j, selection) {
    const rule = rules[c.op], parts = rule && rule.element ? rule.element(c, j) : null, value = c.y.v.at(j);
    if (!parts || value === undefined) return { index: null, source: `${at(c.y, j)} = ${tex(value)}` };
    const selected = parts.terms.findIndex(({ uses }) => uses && selection.get(uses[0]) === uses[1]);
    return { index: parts.index || null, source: sum(at(c.y, j), parts.terms, { tail: parts.tail, value, selected }) };
  }

  const productTex = (term) => (term.tex === "1" ? factor(term.g) : `${factor(term.g)} \\cdot ${term.tex}`);

  // Element i of what a pullback returned.
  function backward(part, selection) {
    const { c, event, i, value, terms, adds, rest, missing } = part, left = d(c, indexed(c.o[event.operand].t, i));
    if (!terms) return `${left} ${adds ? "\\mathrel{+}" : ""}= ${tex(value)}`;
    const written = terms.map((term) => ({ tex: productTex(term), value: term.value }));
    return sum(left, written, { value, rest, missing, adds, selected: terms.findIndex((term) => term.j === selection.get(event.tensor)) });
  }

  // The rule in symbols: of the value, or of the gradient of operand `label`. With `adds`, it is one of several contributions.
  const symbolic = (c, label, adds) => (adds ? rule(c, label).replace(" = ", " \\mathrel{+}= ") : rule(c, label));
  function rule(c, label) {
    const rule = rules[c.op];
    if (label === undefined) return rule && rule.forward ? rule.forward(c) : general(c);
    return rule && rule.back && c.o[label] ? rule.back(c, label) : `${d(c, c.o[label].t.symbol)} = \\text{the pullback of } ${c.op.replaceAll("_", "\\_")}`;
  }
  const general = (c) => `${c.y.t.symbol} = \\operatorname{${c.op.replaceAll("_", "\\_")}}(${Object.values(c.o).map((o) => o.t.symbol).join(",\\, ")})`;

  study.show = { math, forward, backward, symbolic, sum, productTex, text };
})();

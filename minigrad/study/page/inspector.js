// One element: its value and gradient, the finite difference, and its chain of factors from the loss.
(function () {
  "use strict";
  const { span, tex, plain, unravel, ravel, text } = study.numbers;
  const { element, figure } = study.arrays;
  const { math, backward, symbolic, productTex } = study.show;
  const { indexed } = study.formulas;

  const words = (t, flat) => `${plain(t.symbol)}${t.shape.length ? `[${unravel(flat, t.shape).join(", ")}]` : ""}`;

  function number(label, x, name) {
    const group = element("div", "");
    group.append(element("dt", "", label), element("dd", "", span(x, name)));
    return group;
  }

  // A number field per axis, to select an element without a pointer.
  function fields(player, k) {
    const t = player.opened.tensors[k], index = unravel(player.focus.flat, t.shape), row = element("div", "fields");
    t.shape.forEach((size, axis) => {
      const input = element("input", "");
      Object.assign(input, { type: "number", min: 0, max: size - 1, value: index[axis], id: `axis-${axis}`, inputMode: "numeric" });
      const label = element("label", "", `axis ${axis}`, input);
      input.addEventListener("change", () => {
        const value = Math.max(0, Math.min(size - 1, Math.round(Number(input.value) || 0)));
        const chosen = [...index];
        chosen[axis] = value;
        player.select(k, ravel(chosen, t.shape));
        document.getElementById(`axis-${axis}`)?.focus();
      });
      row.append(label);
    });
    return row;
  }

  const root = (player) => player.opened.tensors[player.opened.root].symbol;

  // The finite difference of element `flat`: the estimate, or null; and the elements that have one, or null for all.
  function estimate(player, k, flat) {
    const t = player.opened.tensors[k], arrays = player.opened.header.arrays;
    if (!t.check) return null;
    const first = t.kind === "input" ? player.opened.header.batch.shown * (t.shape.reduce((a, b) => a * b, 1) / t.shape[0]) : 0;
    const elements = t.check.elements === null ? null : arrays[t.check.elements].data, estimates = arrays[t.check.estimates].data;
    const at = elements === null ? flat - first : elements.indexOf(flat - first);
    return { value: at < 0 || at >= estimates.length ? null : estimates[at], elements: elements === null ? null : Array.from(elements, (e) => e + first), first };
  }

  function checkOf(player, k, flat, gradient) {
    const box = element("div", "check"), found = estimate(player, k, flat);
    if (!found || gradient === undefined) return box;
    box.append(element("h3", "", "Finite difference"));
    if (found.value === null) {
      const some = found.elements ? found.elements[0] : found.first;
      const button = element("button", "quiet", `Show ${words(player.opened.tensors[k], some)}`);
      button.type = "button";
      button.addEventListener("click", () => player.select(k, some));
      box.append(element("p", "soft", "This element has no estimate. Those with the largest gradients have one. "), button);
      return box;
    }
    const difference = gradient - found.value, agrees = Math.abs(difference) <= 1e-7 + 1e-5 * Math.abs(found.value);
    const list = element("dl", "facts");
    list.append(number("gradient", gradient, "gradient"), number("estimate", found.value, "estimate"), number("difference", difference, "difference"));
    box.append(list, element("p", "soft", "The estimate changes only the selected element, w, and computes the loss twice:"), math(`\\frac{${root(player)}(w + h) - ${root(player)}(w - h)}{2h}, \\quad h = 10^{-6}`, true));
    box.append(element("p", agrees ? "verdict good" : "verdict bad", agrees ? "Both agree." : "They differ: the gradient is wrong for this loss."));
    if (agrees && player.opened.recording.mistake) box.append(element("p", "soft", "The backward pass is right. The mistake is in the forward pass: this is the gradient of a wrong loss."));
    return box;
  }

  // All terms of a sum as a table, made when it is opened.
  function allTerms(player, part) {
    const details = element("details", "terms"), t = player.opened.tensors[part.event.tensor];
    details.append(element("summary", "", `All ${part.terms.length} terms of the sum`));
    details.addEventListener("toggle", () => {
      if (!details.open || details.querySelector("table")) return;
      const table = element("table", ""), head = element("tr", ""), body = element("tbody", "");
      for (const name of ["from", "arriving gradient", "times factor", "product"]) head.append(element("th", "", name));
      for (const term of part.terms) {
        const row = element("tr", "");
        row.append(element("th", "", math(indexed(t, term.j))), ...[[term.g, "g"], [term.d, "factor"], [term.value, "product"]].map(([x, name]) => element("td", "", span(x, name))));
        body.append(row);
      }
      const rows = [];
      if (part.missing) rows.push([`${part.missing} terms of images that are not stored`, part.rest, "product"]);
      rows.push(["sum", part.value, "sum"]);
      for (const [label, x, name] of rows) {
        const row = element("tr", "total"), cell = element("td", "", span(x, name)), heading = element("th", "", label);
        heading.colSpan = 3;
        row.append(heading, cell);
        body.append(row);
      }
      table.append(element("thead", "", head), body);
      const scroll = element("div", "scroll", table);
      scroll.tabIndex = 0;
      details.append(scroll);
    });
    return details;
  }

  function stepItem(player, step) {
    const item = element("li", "chain-step"), t = player.opened.tensors[step.tensor], rules = new Set(), where = study.words.place(player, step.tensor, step.flat);
    step.parts.forEach((part, n) => {
      const heading = element("p", "chain-head", element("strong", "", part.event.op), ` · operand ${part.event.operand}`);
      if (where) heading.append(` · ${where}`);
      if (step.parts.length > 1) heading.append(` · contribution ${n + 1} of ${step.parts.length}`);
      const rule = symbolic(part.c, part.event.operand, part.adds);
      item.append(heading, ...(rules.has(rule) ? [] : [math(rule, true)]), math(backward(part, player.selection), true));
      rules.add(rule);
      if (part.terms && part.terms.length > 1) item.append(allTerms(player, part));
      if (!part.terms) item.append(element("p", "soft", "The gradient that arrived and the gradient that was returned are in the arrays of this step."));
    });
    if (step.parts.length > 1) {
      const values = step.parts.map((part) => part.value), total = values.reduce((a, b) => a + b, 0);
      const left = study.formulas.d(step.main.c, indexed(t, step.flat));
      item.append(math(study.show.sum(left, values.map((x) => ({ tex: study.numbers.factor(x), value: x })), { value: total }), true));
    }
    return item;
  }

  const last = (list) => list[list.length - 1];

  // The product of the factors along the path that was followed.
  function path(player, steps, gradient) {
    const followed = steps.filter((step) => step.term), box = element("div", "path");
    if (followed.length !== steps.length || !steps.length) return box;
    const product = followed.reduce((p, step) => p * step.term.d, 1);
    const all = followed.map((step) => step.term.tex), other = all.filter((s) => s !== "1"), factors = other.length ? other : all;
    const single = followed.every((step) => step.parts.length === 1), count = followed.reduce((n, step) => n * step.main.terms.length, 1);
    const names = [...followed.map((step) => indexed(player.opened.tensors[step.main.event.tensor], step.term.j)), indexed(player.opened.tensors[last(steps).tensor], last(steps).flat)];
    const sum = last(steps).parts.reduce((total, part) => total + part.value, 0), before = gradient - sum;
    const title = single && count > 1 ? `The selected path, one of ${count.toLocaleString("en")}` : "The selected path";
    box.append(element("h3", "", title), math(names.join(" \\to "), true), element("p", "soft", "The product of the factors along it:"), math(`${["1", ...factors].join(" \\cdot ")} = ${tex(product)}`, true));
    const twice = player.state.mistake === "depth_first";
    const line = element("p", "", twice ? "The sum that depth first computes, with some paths more than once: " : "The gradient is the sum of the products along all paths: ", span(sum, "chain-sum"), ".");
    if (Math.abs(before) > 1e-12 * Math.max(1, Math.abs(gradient))) {
      line.append(" The gradient holds ", span(gradient, "accumulated"), ": ", span(before, "left-over"), " is left over from another batch.");
    }
    box.append(line);
    return box;
  }

  function chainOf(player, k, flat, gradient) {
    const box = element("div", "chain"), steps = study.chain.chain(player.opened, k, flat, player.state.image);
    if (!steps.length || gradient === undefined) return box;
    const root = player.opened.tensors[player.opened.root], list = element("ol", "");
    const first = element("li", "chain-step");
    first.append(element("p", "chain-head", element("strong", "", "start")), math(`\\frac{\\partial ${root.symbol}}{\\partial ${root.symbol}} = 1`, true));
    list.append(first, ...steps.map((step) => stepItem(player, step)));
    box.append(element("h3", "", `From the loss to ${words(player.opened.tensors[k], flat)}`), list, path(player, steps, gradient));
    return box;
  }

  function render(container, player) {
    const { tensor: k, flat } = player.focus, { opened } = player, t = opened.tensors[k], v = opened.views[k], g = opened.gradients[k];
    const gradient = g ? g.at(flat) : undefined;
    const head = element("div", "inspector-head"), where = study.words.place(player, k, flat);
    head.append(element("h2", "", `Element ${words(t, flat)}`), element("p", "soft", element("code", "", t.name), t.op ? `, result of ${t.op}` : `, ${t.kind}`, where ? `: ${where}` : ""));
    const list = element("dl", "facts");
    list.append(number("value", v.at(flat), "value"));
    if (gradient !== undefined) list.append(number("gradient", gradient, "gradient"));
    const notes = [];
    if (t.kind === "input") notes.push("Training does not need the gradient of the input. It was computed for this page, for the shown image.");
    if (!g) notes.push("No gradient flows to this tensor.");
    const pictures = element("div", "figures", study.eventView.picture(player, k, v, { role: "value", name: "value" }));
    if (g) pictures.append(study.eventView.picture(player, k, g, { role: "gradient", gradient: true, name: "gradient" }));
    const side = element("div", "inspector-side", list, fields(player, k), ...notes.map((note) => element("p", "soft", note)), pictures, checkOf(player, k, flat, gradient));
    const open = new Set([...container.querySelectorAll("details")].flatMap((e, n) => (e.open ? [n] : [])));
    container.replaceChildren(head, element("div", "inspector-body", side, chainOf(player, k, flat, gradient)));
    container.querySelectorAll("details").forEach((e, n) => { if (open.has(n)) e.open = true; });
    return gradient === undefined ? `${words(t, flat)} = ${text(v.at(flat))}` : `${words(t, flat)} = ${text(v.at(flat))}, gradient ${text(gradient)}`;
  }

  study.inspector = { render, words };
})();

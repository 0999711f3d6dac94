// The panel of one event: formulas, arrays and source code.
(function () {
  "use strict";
  const { span, tex, factor, plain, view, unravel } = study.numbers;
  const { element, figure } = study.arrays;
  const { math, forward, backward, symbolic } = study.show;
  const { indexed } = study.formulas;

  const partial = (opened, t) => `\\frac{\\partial ${opened.tensors[opened.root].symbol}}{\\partial ${t.symbol}}`;
  const inline = (opened, t) => `\\partial ${opened.tensors[opened.root].symbol} / \\partial ${t.symbol}`;

  function titled(source, role, name) {
    const title = element("span", "");
    if (role) title.append(element("span", "role", role), " ");
    title.append(math(source));
    if (name) title.append(" ", element("code", "", name));
    return title;
  }

  // The picture of a tensor or of a gradient in its shape.
  function picture(player, k, v, options) {
    const t = player.opened.tensors[k], gradient = options.gradient;
    const kind = !gradient && t.kind === "input" ? "pixels" : "signed";
    const source = gradient ? inline(player.opened, t) : t.symbol;
    const label = gradient ? `Gradient of ${plain(t.symbol)}` : `${plain(t.symbol)}, ${t.name}`;
    const name = t.kind === "parameter" && !gradient && t.name !== t.symbol ? t.name : "";
    return figure({
      t, view: v, kind, side: player.side, image: player.state.image, label: `${options.role || ""} ${label}`.trim(),
      title: titled(source, options.role, name), selected: player.selection.get(k), name: options.name,
      select: (flat, keep) => player.select(k, flat, keep), width: options.width, height: options.height,
    });
  }

  // An arrow and the picture that it leads to, which stay on one line.
  function then(picture) {
    const arrow = element("span", "arrow", "→");
    arrow.setAttribute("aria-hidden", "true");
    return element("div", "then", arrow, picture);
  }

  const roleOf = (label) => (label.length < 2 ? `operand ${label}` : label);

  // Replace single letters of a formula, but not those in the names of LaTeX commands.
  const letters = (formula, by) => formula.replace(/\\[a-zA-Z]+|[a-zA-Z]/g, (found) => by[found] || found);

  const VIEWS = {
    forward(player, event) {
      const { opened } = player, c = study.chain.context(opened, event), j = player.selection.get(event.tensor) || 0;
      const { index, source } = forward(c, j, player.selection);
      const operands = event.operands.map(({ label, tensor }) => picture(player, tensor, opened.views[tensor], { role: roleOf(label), name: `operand ${label}` }));
      return {
        symbolic: [symbolic(c), index], numeric: source,
        flow: [...operands, then(picture(player, event.tensor, opened.views[event.tensor], { role: "value", name: "value" }))],
        facts: [["value", c.y.v.at(j), indexed(c.y.t, j)]],
      };
    },
    start(player, event) {
      const t = player.opened.tensors[event.tensor], value = player.opened.header.arrays[event.gradient].data[0];
      return {
        symbolic: [`${partial(player.opened, t)} = 1`], numeric: null,
        flow: [picture(player, event.tensor, player.opened.views[event.tensor], { role: "value", name: "value" }),
          picture(player, event.tensor, view(player.opened.header.arrays[event.gradient], t.shape, null), { role: "starts at", gradient: true })],
        facts: [["gradient", value, `${partial(player.opened, t)}`]],
      };
    },
    backward(player, event) {
      const { opened } = player, i = player.selection.get(event.to) || 0, part = study.chain.contribution(opened, event, i), c = part.c;
      const others = opened.forward.get(event.tensor).operands
        .filter((o) => !["constant"].includes(opened.tensors[o.tensor].kind))
        .map((o) => picture(player, o.tensor, opened.views[o.tensor], { role: roleOf(o.label), width: 180, height: 180 }));
      const arrivals = opened.backward.get(event.to).length;
      const flow = [picture(player, event.tensor, c.g, { role: "arrives", gradient: true, name: "incoming" }),
        then(picture(player, event.to, c.returned, { role: "returned", gradient: true, name: "returned" }))];
      if (arrivals > 1) flow.push(then(picture(player, event.to, c.total, { role: "sum so far", gradient: true, name: "total" })));
      return {
        symbolic: [symbolic(c, event.operand, part.adds)], numeric: backward(part, player.selection), terms: part.terms, flow, others,
        facts: [["returned", c.returned.at(i), null], ["total", c.total.at(i), null]],
      };
    },
    update(player, event) {
      const { opened } = player, t = opened.tensors[event.tensor], i = player.selection.get(event.tensor) || 0;
      const stored = (id) => view(opened.header.arrays[id], t.shape, null), after = stored(event.after), before = stored(event.before);
      const gradient = stored(event.gradient), here = indexed(t, i), w = t.symbol, step = after.at(i) - before.at(i);
      const own = letters(event.formula, { w, g: partial(opened, t) });
      const plainStep = Math.abs(step + event.lr * gradient.at(i)) <= 1e-12 * Math.abs(step), g = factor(gradient.at(i));
      const change = plainStep ? `- ${tex(event.lr)} \\cdot ${g}` : `${step < 0 ? "-" : "+"} ${tex(Math.abs(step))}`;
      const numeric = `\\begin{aligned} ${here} &= ${tex(before.at(i))} ${change} \\\\[2pt] &= ${tex(after.at(i))} \\end{aligned}`;
      return {
        symbolic: [own, `\\eta = ${tex(event.lr)}, \\quad \\frac{\\partial L}{\\partial ${here}} = ${tex(gradient.at(i))}`], numeric,
        flow: [picture(player, event.tensor, before, { role: "before", name: "before" }), picture(player, event.tensor, gradient, { role: "gradient", gradient: true, name: "gradient" }),
          then(picture(player, event.tensor, after, { role: "after", name: "after" }))],
        facts: [["before", before.at(i), null], ["gradient", gradient.at(i), null], ["after", after.at(i), null]],
      };
    },
  };

  const FACTS = { value: "value", gradient: "gradient", returned: "returned", total: "sum so far", before: "before", after: "after" };

  function facts(content, tensor, player) {
    const list = element("dl", "facts"), t = player.opened.tensors[tensor], i = player.selection.get(tensor) || 0;
    if (t.shape.length) {
      const group = element("div", "");
      const where = study.words.place(player, tensor, i);
      group.append(element("dt", "", "selected element"), element("dd", "", math(indexed(t, i)), where && element("small", "where soft", where)));
      list.append(group);
    }
    for (const [name, x] of content.facts) {
      const group = element("div", "");
      group.append(element("dt", "", FACTS[name]), element("dd", "", span(x, name)));
      list.append(group);
    }
    const link = element("button", "quiet", "Chain of factors ↓");
    link.type = "button";
    link.addEventListener("click", () => {
      player.select(tensor, i);
      const target = document.getElementById("inspector");
      target.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
      target.focus({ preventScroll: true });
    });
    if (player.opened.gradients[tensor]) list.append(link);
    return list;
  }

  function code(recording, event) {
    const source = recording.sources[event.source], lines = source.text.replace(/\n$/, "").split("\n");
    const block = element("pre", "code"), marked = new Set(event.lines);
    block.tabIndex = 0;
    block.setAttribute("role", "group");
    block.setAttribute("aria-label", `Source of ${event.op}`);
    lines.forEach((line, k) => {
      const number = source.first + k, row = element(marked.has(number) ? "mark" : "span", "line");
      row.append(element("span", "line-number", String(number)), line || " ");
      block.append(row);
    });
    return block;
  }

  function source(player, event) {
    if (event.source === undefined || event.source === null) return null;
    const box = element("section", "source"), file = player.opened.recording.sources[event.source].file;
    const called = event.caller || (player.opened.forward.get(event.tensor) || {}).caller;
    box.append(element("h3", "", "Source of the rule "), element("p", "soft", element("code", "", file)), code(player.opened.recording, event));
    if (called) {
      const line = element("p", "caller soft", "Called by ", element("code", "", `${called.file}:${called.line}`));
      if (called.text) line.append(" ", element("code", "call", called.text));
      box.append(line);
    }
    return box;
  }

  // The meaning of each symbol in the formulas.
  function legend(player, event, formulas) {
    const rows = study.words.symbols(player, event, formulas);
    if (!rows.length) return null;
    const list = element("dl", "where-list");
    for (const [symbol, words] of rows) list.append(element("div", "", element("dt", "", math(symbol)), element("dd", "", words)));
    return element("div", "", element("h3", "", "Symbols"), list);
  }

  // Fill the container with everything about the current event.
  function render(container, player) {
    const event = player.event(), make = VIEWS[event.kind];
    container.replaceChildren();
    if (!make) return;
    const content = make(player, event), tensor = event.kind === "backward" ? event.to : event.tensor;
    const formulas = element("section", "formulas panel");
    formulas.append(element("h3", "", "Formula"), ...content.symbolic.filter(Boolean).map((s) => math(s, true)));
    const meaning = legend(player, event, content.symbolic.filter(Boolean).join(" "));
    if (meaning) formulas.append(meaning);
    if (content.numeric) {
      const numbers = element("div", "numbers", element("h3", "", "With the numbers of the selected element"), math(content.numeric, true));
      if (content.terms) numbers.dataset.terms = content.terms.length;
      formulas.append(numbers);
    }
    formulas.append(facts(content, tensor, player));
    const flow = element("section", "flow panel", element("h3", "", "Arrays"), element("div", "figures", ...content.flow));
    if (content.others && content.others.length) {
      flow.append(element("h4", "", `Operands of ${event.op}, which the pullback may read`), element("div", "figures small", ...content.others));
    }
    container.append(formulas, flow);
    const listing = source(player, event);
    if (!listing) return;
    listing.classList.add("panel");
    container.append(listing);
    const block = listing.querySelector(".code"), mark = listing.querySelector("mark");
    if (mark) block.scrollTop = mark.offsetTop - block.offsetTop - block.clientHeight / 2;
  }

  study.eventView = { render, picture, inline };
})();

// One sentence per event, and the meaning of its symbols and indices.
(function () {
  "use strict";
  const { plain, unravel } = study.numbers;

  // What an operation does; {label} is the symbol of an operand.
  const FORWARD = {
    linear: "it multiplies each row of {input} by the rows of {weight} and adds {bias}",
    relu: "it keeps the positive elements and replaces the others by 0",
    tanh: "it maps each element to a number between −1 and 1",
    sigmoid: "it maps each element to a number between 0 and 1",
    cross_entropy: "it averages −ln p over the images, where p is the softmax probability of the correct class",
    nll_loss: "it averages the negative log-probability of the correct class over the images",
    softmax: "it turns each row into probabilities that sum to 1",
    log_softmax: "it computes the logarithm of softmax, without an overflow",
    logsumexp: "it computes the logarithm of the sum of the exponentials",
    exp: "it computes e to the power of each element",
    log: "it computes the natural logarithm of each element",
    add: "it adds the elements of {a} and {b}",
    subtract: "it subtracts {b} from {a}",
    multiply: "it multiplies {a} by {b}, element by element",
    divide: "it divides {a} by {b}, element by element",
    negative: "it changes the sign of each element",
    mean: "it averages the elements",
    sum: "it sums the elements",
    matmul: "it multiplies the matrices {a} and {b}",
    getitem: "it reads the elements at the given indices",
    reshape: "it gives the same elements another shape",
    flatten: "it merges axes; the elements stay the same",
    transpose: "it exchanges rows and columns",
    conv2d: "it slides each filter of {weight} over the images and adds {bias}",
    max_pool2d: "it keeps the largest element of each window",
    dropout: "it sets random elements to 0 and scales the others up",
    batch_norm: "it standardizes each channel, then scales and shifts it",
  };

  const MULTIPLIES = "it multiplies each element of the incoming gradient by the derivative of the operation there";
  const MOVES = "it puts each element of the incoming gradient back where its element came from";
  const BACKWARD = {
    linear: {
      input: "it multiplies the incoming gradient by {weight}, so that each input receives the sum over all units that used it",
      weight: "it multiplies the incoming gradient by the inputs and sums over the images of the batch",
      bias: "it sums the incoming gradient over the images of the batch",
    },
    matmul: { a: "it multiplies the incoming gradient by the transpose of {b}", b: "it multiplies the transpose of {a} by the incoming gradient" },
    relu: { input: "it passes the gradient on where {input} is positive, and 0 elsewhere" },
    cross_entropy: { input: "it computes the softmax probabilities, subtracts 1 at the correct class, and divides by the number of images" },
    nll_loss: { input: "it returns −1 divided by the number of images at the correct class, and 0 elsewhere" },
    logsumexp: { a: "it multiplies the incoming gradient by the softmax probabilities" },
    softmax: { a: "it subtracts from each element of the gradient the mean of its row, weighted with the probabilities, and multiplies by the probability" },
    log_softmax: { a: "it subtracts from each element of the gradient its probability times the sum of the gradient of its row" },
    exp: { a: "it multiplies the incoming gradient by the value, since the exponential is its own derivative" },
    log: { a: "it divides the incoming gradient by {a}" },
    add: { a: "it returns the incoming gradient unchanged", b: "it returns the incoming gradient unchanged" },
    subtract: { a: "it returns the incoming gradient unchanged", b: "it returns the incoming gradient with the opposite sign" },
    multiply: { a: "it multiplies the incoming gradient by {b}", b: "it multiplies the incoming gradient by {a}" },
    divide: { a: "it divides the incoming gradient by {b}" },
    negative: { a: "it returns the incoming gradient with the opposite sign" },
    sum: { a: "each element of the sum receives the whole gradient" },
    mean: { a: "each element receives an equal share of the gradient" },
    getitem: { a: "the elements that were read receive their gradient, and the others 0" },
    reshape: { a: MOVES }, flatten: { a: MOVES }, transpose: { a: MOVES },
    conv2d: {
      input: "each pixel receives the sum over all filters and positions that used it",
      weight: "it sums gradient times pixel over the images and all positions of the filter",
      bias: "it sums the incoming gradient over the images and positions",
    },
    max_pool2d: { input: "the largest element of each window receives the gradient, and the others 0" },
    dropout: { input: "it multiplies by the same random mask as in the forward pass" },
    batch_norm: {
      input: "it also subtracts the parts of the gradient that change the mean and the variance of the channel",
      weight: "it sums gradient times standardized value", bias: "it sums the incoming gradient",
    },
  };

  const symbol = (opened, k) => plain(opened.tensors[k].symbol);

  function listed(items) {
    return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items[items.length - 1]}`;
  }

  function fill(template, opened, event) {
    const operands = opened.forward.get(event.tensor).operands;
    const has = (label) => operands.some((o) => o.label === label);
    const used = has("bias") ? template : template.replace(" and adds {bias}", "");
    return used.replace(/\{(\w+)\}/g, (_, label) => {
      const operand = operands.find((o) => o.label === label);
      return operand ? symbol(opened, operand.tensor) : label;
    });
  }

  // What tensor k has per column: pixels, units, classes, or other elements.
  function columns(player, k) {
    const { opened } = player, t = opened.tensors[k], event = opened.forward.get(k);
    if (t.kind === "input") return player.side ? "pixel" : "input";
    if (!event) return "column";
    if (event.op === "linear") {
      let weight = event.operands.find((o) => o.label === "weight").tensor;
      while (opened.forward.has(weight)) weight = opened.forward.get(weight).operands[0].tensor;
      return opened.tensors[weight].name.startsWith("output") ? "class" : "unit";
    }
    const source = event.operands.find((o) => opened.tensors[o.tensor].shape.join() === t.shape.join());
    return source ? columns(player, source.tensor) : "element";
  }

  // The forward event that uses a parameter, and as which operand.
  function useOf(opened, k) {
    for (const event of opened.forward.values()) {
      const operand = event.operands.find((o) => o.tensor === k);
      if (operand) return { op: event.op, label: operand.label, result: event.tensor, input: (event.operands.find((o) => o.label === "input") || {}).tensor };
    }
    return {};
  }

  function counted(player, name, i) {
    const width = player.side && player.side[1];
    return name === "pixel" ? `pixel in row ${Math.floor(i / width)}, column ${i % width}` : `${name} ${i}`;
  }

  const GRID = ["channel", "row", "column"];

  // Where element `flat` of tensor k is, in words; counted from 0, as the index is. Empty if the axes are not known.
  function place(player, k, flat) {
    const { opened } = player, t = opened.tensors[k], index = unravel(flat, t.shape), rank = index.length;
    const list = (names) => names.map((name, axis) => counted(player, name, index[axis])).join(", ");
    if (t.kind === "parameter") {
      const { op, label, result, input } = useOf(opened, k);
      if (op === "conv2d") return list(["filter", ...GRID].slice(0, rank));
      if (op === "batch_norm") return list(["channel"]);
      if (op !== "linear" || rank > 2) return "";
      return label === "bias" ? list([columns(player, result)]) : list([columns(player, result), columns(player, input)]);
    }
    if (!rank || !t.batch && t.kind !== "label") return "";
    if (rank === 2) return list(["image", columns(player, k)]);
    return rank === 1 ? list(["image"]) : rank === 4 ? list(["image", ...GRID]) : "";
  }

  // Symbols of formulas that are not tensors: where they occur, and their meaning.
  const SYMBOLS = [
    [/\\mathrel\{\+\}=/, () => "\\mathrel{+}=", "adds to the sum so far"],
    [/\\leftarrow/, () => "\\leftarrow", "becomes"],
    [/\bt_n/, () => "t_n", "the correct class of image n"],
    [/p\[n,/, () => "p[n,k]", "the softmax probability of class k for image n"],
    [/\\mathbf\{1\}_\{((?:[^{}]|\{[^{}]*\})*)\}/, (found) => found[0], "1 where the condition is true, else 0"],
    [/\\odot/, () => "\\odot", "multiplies element by element"],
    [/\^\\top/, () => "^\\top", "exchanges rows and columns"],
    [/\\text\{copies\}/, () => "\\text{copies}", "the elements that broadcasting made of one"],
    [/\\eta/, () => "\\eta", "the learning rate"],
    [/\\lambda/, () => "\\lambda", "the weight decay"],
    [/\\mu v/, () => "\\mu", "the momentum, which lets old gradients decay"],
    [/\\hat m/, () => "\\hat m", "the running mean of the gradient, corrected for its start at 0"],
    [/\\hat v/, () => "\\hat v", "the running mean of the squared gradient, corrected for its start at 0"],
    [/\\alpha/, () => "\\alpha", "the share of the old mean that is kept"],
    [/\\epsilon|\\varepsilon/, (found) => found[0], "a small number, which prevents a division by 0"],
    [/\\sigma\^2/, () => "\\mu,\\, \\sigma^2", "the mean and the variance of a channel over the batch"],
    [/\\hat x/, () => "\\hat x", "the standardized values"],
    [/\\overline/, () => "\\overline{\\delta}", "a mean over the channel"],
    [/\\odot m/, () => "m,\\, p", "the random mask, and the probability of 0 in it"],
  ];

  const INDICES = { n: "the image", j: "a class", o: "the filter", c: "the channel", h: "the row", w: "the column", p: "the row in a filter", q: "the column in a filter", r: "the row", s: "the column" };

  // The symbols of the formulas of an event with their meanings, as [LaTeX, words].
  function symbols(player, event, formulas) {
    const { opened } = player, rows = [], forward = opened.forward.get(event.tensor), tensors = opened.tensors;
    const root = opened.root === null ? "" : tensors[opened.root].symbol;
    if (event.kind === "start") return rows;
    if (/\\frac\{\\partial/.test(formulas)) rows.push([`\\partial ${root} / \\partial ${tensors[event.tensor].symbol}`, `the gradient of ${symbol(opened, event.tensor)}${event.kind === "backward" ? ", which arrives" : ""}`]);
    const used = forward && event.kind !== "update" ? forward.operands.map((o) => o.tensor) : event.kind === "update" ? [event.tensor] : [];
    const values = formulas.replace(/\\partial [^}]*\}?/g, ""), bare = values.replace(/\\[a-zA-Z]+/g, "");
    for (const k of new Set(used)) {
      const s = tensors[k].symbol;
      if ((s.startsWith("\\") ? values : bare).includes(s)) rows.push([s, meaning(player, k)]);
    }
    const letters = new Set([...formulas.matchAll(/\[([a-z](?:, ?[a-z])*)/g)].flatMap((found) => found[1].split(/, ?/)));
    if (forward && event.kind !== "update") {
      const input = forward.operands.find((o) => o.label === "input" || o.label === "a");
      const unit = forward.op === "linear" ? columns(player, event.tensor) : forward.op === "conv2d" ? "filter" : "class";
      const names = { ...INDICES, k: `the ${unit}`, ...(input ? { i: `the ${columns(player, input.tensor)}` } : {}) };
      for (const letter of letters) if (names[letter]) rows.push([letter, `the index of ${names[letter]}`]);
    }
    for (const [where, tex, words] of SYMBOLS) {
      const found = formulas.match(where);
      if (found) rows.push([tex(found), words]);
    }
    return rows;
  }

  function meaning(player, k) {
    const { opened } = player, t = opened.tensors[k], shape = t.shape.join(" × ");
    if (t.kind === "input") return `the images of the batch, ${shape}`;
    if (t.kind === "label") return "the labels: the correct class of each image";
    if (t.kind === "constant") return "a constant: it gets no gradient";
    if (t.kind === "result") return `the result of ${t.op}${shape ? `, ${shape}` : ""}`;
    return t.name === t.symbol ? "a variable" : `${t.name}${shape ? `, ${shape}` : ""}`;
  }

  const WORDS = {
    forward(opened, event) {
      const from = listed([...new Set(event.operands.map((o) => symbol(opened, o.tensor)))]);
      const how = FORWARD[event.op] ? `: ${fill(FORWARD[event.op], opened, event)}` : "";
      return `${event.op} computes ${symbol(opened, event.tensor)} from ${from}${how}.`;
    },
    start(opened, event) {
      const root = symbol(opened, event.tensor);
      return `The backward pass starts at ${root} with d${root}/d${root} = 1, the derivative of ${root} with respect to itself. It visits the operations from the newest to the oldest. The pullback of an operation turns the gradient of its result into a gradient of an operand.`;
    },
    backward(opened, event) {
      const root = symbol(opened, opened.root), y = symbol(opened, event.tensor), to = symbol(opened, event.to);
      const how = (BACKWARD[event.op] || {})[event.operand] || MULTIPLIES;
      const copies = event.unbroadcast ? ` The tape then sums it over the copies that broadcasting made of ${to}.` : "";
      const arrivals = opened.backward.get(event.to).length;
      const nth = arrivals > 1 ? ` This is contribution ${event.nth} of ${arrivals} to d${root}/d${to}; it is added to the sum.` : "";
      return `The pullback of ${event.op} turns d${root}/d${y} into d${root}/d${to}: ${fill(how, opened, event)}.${copies}${nth}`;
    },
    update: (opened, event) => `The optimizer updates ${symbol(opened, event.tensor)} (${opened.tensors[event.tensor].name}). ${event.text}`,
    zero_grad: (opened, event) => event.text,
    note: (opened, event) => event.text,
  };

  // What an event does wrong with a known mistake; empty if it does nothing wrong.
  function cause(opened, event, now) {
    const { recording } = opened, { mistake, events } = recording, root = symbol(opened, opened.root), name = (k) => `d${root}/d${symbol(opened, k)}`;
    const forward = opened.forward.get(event.tensor);
    if (mistake === "softmax_twice" && event.kind === "forward") {
      if (event.op === "softmax") return "The first softmax. It is not needed: the loss computes softmax itself.";
      if (event.op === "cross_entropy") return `The second softmax: cross_entropy expects logits, and gets probabilities, ${symbol(opened, event.operands[0].tensor)}.`;
    }
    if (mistake === "transposed_weight" && event.op === "transpose" && event.kind === "forward") return "This operation is not needed: linear transposes the weight itself.";
    if (mistake === "no_zero_grad" && event.kind === "backward" && opened.tensors[event.to].kind === "parameter") return "The numbers below are right for this batch, but grad still has the gradient of another batch.";
    if (mistake !== "depth_first" || event.kind !== "backward" || event.tensor === opened.root || !forward) return "";
    const arrivals = opened.backward.get(event.tensor), arrived = arrivals.filter((entry) => entry.index < now).length;
    const before = events.slice(0, now).some((e) => e.kind === "backward" && e.tensor === event.tensor && e.to === event.to && e.operand === event.operand);
    if (before) return `Passed on again: ${name(event.tensor)} also contains what was passed on before, which is now counted twice.`;
    return arrived < arrivals.length ? `Too early: only ${arrived} of ${arrivals.length} contributions to ${name(event.tensor)} ${arrived > 1 ? "have" : "has"} arrived.` : "";
  }

  const TITLES = {
    forward: (opened, event) => `${event.op}`,
    start: () => "Start",
    backward: (opened, event) => `${event.op}, operand ${event.operand}`,
    update: (opened, event) => opened.tensors[event.tensor].name,
    zero_grad: () => "zero_grad",
    note: () => "Note",
  };
  const PHASES = { forward: "Forward", start: "Backward", backward: "Backward", update: "Update", zero_grad: "Before", note: "Note" };

  study.words = {
    sentence: (opened, event) => WORDS[event.kind](opened, event),
    title: (opened, event) => TITLES[event.kind](opened, event),
    phase: (event) => PHASES[event.kind],
    place,
    symbols,
    cause,
  };
})();

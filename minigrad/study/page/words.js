// One sentence per event.
(function () {
  "use strict";
  const { plain } = study.numbers;

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
    getitem: "it reads some of the elements, here those at the given indices",
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

  const WORDS = {
    forward(opened, event) {
      const from = listed([...new Set(event.operands.map((o) => symbol(opened, o.tensor)))]);
      const how = FORWARD[event.op] ? `: ${fill(FORWARD[event.op], opened, event)}` : "";
      return `${event.op} computes ${symbol(opened, event.tensor)} from ${from}${how}.`;
    },
    start(opened, event) {
      const root = symbol(opened, event.tensor);
      return `The backward pass starts at ${root} with d${root}/d${root} = 1 and visits the operations from the newest to the oldest.`;
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
  };
})();

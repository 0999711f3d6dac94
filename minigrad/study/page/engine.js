// A small engine in float64: matrices, the tape of minigrad/first.py, four rules, and the training of a network with one
// hidden layer. It computes the same losses as minigrad, up to rounding: sums are added in another order here, and
// exp and log may differ in the last bit.
(() => {
  "use strict";
  const study = (window.study ??= {});

  // ---- Matrices. Element (i, j) is data[i * columns + j].

  function matrix(rows, columns, data = new Float64Array(rows * columns)) {
    return { rows, columns, data };
  }

  // a b. A term with a_ik = 0 adds nothing, and four of five pixels of MNIST are 0.
  function product(a, b) {
    const { rows: n, columns: inner } = a, m = b.columns, y = matrix(n, m);
    const A = a.data, B = b.data, Y = y.data;
    for (let i = 0; i < n; i++) {
      const to = i * m;
      for (let k = 0; k < inner; k++) {
        const value = A[i * inner + k];
        if (value === 0) continue;
        const from = k * m;
        for (let j = 0; j < m; j++) Y[to + j] += value * B[from + j];
      }
    }
    return y;
  }

  // a^T g, the gradient of b in a b.
  function productTransposedFirst(a, g) {
    const { rows: n, columns: inner } = a, m = g.columns, y = matrix(inner, m);
    const A = a.data, G = g.data, Y = y.data;
    for (let i = 0; i < n; i++) {
      const from = i * m;
      for (let k = 0; k < inner; k++) {
        const value = A[i * inner + k];
        if (value === 0) continue;
        const to = k * m;
        for (let j = 0; j < m; j++) Y[to + j] += value * G[from + j];
      }
    }
    return y;
  }

  // g b^T, the gradient of a in a b.
  function productTransposedSecond(g, b) {
    const { rows: n, columns: m } = g, inner = b.rows, y = matrix(n, inner);
    const G = g.data, B = b.data, Y = y.data;
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < inner; k++) {
        let sum = 0;
        for (let j = 0; j < m; j++) sum += G[i * m + j] * B[k * m + j];
        Y[i * inner + k] = sum;
      }
    }
    return y;
  }

  function columnSums(g) {
    const y = matrix(1, g.columns);
    for (let i = 0; i < g.rows; i++) for (let j = 0; j < g.columns; j++) y.data[j] += g.data[i * g.columns + j];
    return y;
  }

  function norm(a) {
    let sum = 0;
    for (let i = 0; i < a.data.length; i++) sum += a.data[i] * a.data[i];
    return Math.sqrt(sum);
  }

  // ---- The tape, as in minigrad/first.py: a node is created after its operands, so the order of creation is a
  // topological order, and `backward` visits the nodes from the newest to the oldest.

  let clock = 0;

  function node(value, edges = [], isParameter = false) {
    return { value, edges, needsGradient: isParameter || edges.length > 0, order: clock++, gradient: null };
  }

  const parameter = (value) => node(value, [], true);

  // Turn a rule over matrices into a function over nodes that records the pullbacks.
  function operation(rule) {
    return (...operands) => {
      const [value, ...pullbacks] = rule(...operands.map((x) => x.value));
      const edges = operands.map((x, i) => [x, pullbacks[i]]).filter(([x]) => x.needsGradient);
      return node(value, edges);
    };
  }

  // Set `gradient` of every node that needs one and that `root`, a 1 x 1 matrix, was computed from.
  function backward(root) {
    const gradients = new Map([[root, matrix(1, 1, Float64Array.of(1))]]);
    while (gradients.size) {
      let newest = null;
      for (const x of gradients.keys()) if (!newest || x.order > newest.order) newest = x;
      const g = (newest.gradient = gradients.get(newest));
      gradients.delete(newest);
      for (const [operand, pullback] of newest.edges) {
        const p = pullback(g), sum = gradients.get(operand);
        if (sum) for (let i = 0; i < sum.data.length; i++) sum.data[i] += p.data[i];
        else gradients.set(operand, p);
      }
    }
  }

  // ---- Rules: each returns the value and one pullback per operand, as in minigrad/ops.

  // y = x W^T + b. `w` is W^T, (in, out): minigrad keeps W in Fortran order, which is the same sequence of numbers.
  const linear = operation((x, w, b) => {
    const y = product(x, w);
    for (let i = 0; i < y.rows; i++) for (let j = 0; j < y.columns; j++) y.data[i * y.columns + j] += b.data[j];
    return [y, (g) => productTransposedSecond(g, w), (g) => productTransposedFirst(x, g), columnSums];
  });

  // y = max(x, 0); NaN stays NaN. dL/dx = g where y is not 0.
  const relu = operation((x) => {
    const y = matrix(x.rows, x.columns, x.data.map((value) => (value <= 0 ? 0 : value)));
    return [y, (g) => matrix(g.rows, g.columns, g.data.map((value, i) => (y.data[i] !== 0 ? value : 0)))];
  });

  // The mean of -ln softmax(z)[label]; dL/dz = (softmax(z) - onehot(label)) / n. `labels` is an array of n integers.
  const crossEntropy = operation((z, labels) => {
    const { rows: n, columns: classes } = z, softmax = matrix(n, classes);
    let total = 0;
    const x = z.data, e = softmax.data;
    for (let i = 0; i < n; i++) {
      const begin = i * classes, end = begin + classes;
      let largest = -Infinity, sum = 0;
      for (let j = begin; j < end; j++) largest = Math.max(largest, x[j]); // so that no exponential overflows
      for (let j = begin; j < end; j++) sum += e[j] = Math.exp(x[j] - largest);
      for (let j = begin; j < end; j++) e[j] /= sum;
      total += Math.log(sum) - (x[begin + labels[i]] - largest);
    }
    const pullback = (g) => {
      const d = matrix(n, classes, softmax.data.slice()), scale = g.data[0] / n;
      for (let i = 0; i < n; i++) d.data[i * classes + labels[i]] -= 1;
      for (let i = 0; i < d.data.length; i++) d.data[i] *= scale;
      return d;
    };
    return [matrix(1, 1, Float64Array.of(total / n)), pullback];
  });

  // ---- Starting weights: NumPy's PCG64 (O'Neill, 2014) and its uniform numbers, from a state that Python stored.

  class PCG64 {
    constructor({ state, increment }) {
      this.state = BigInt(state);
      this.increment = BigInt(increment);
    }

    // The next number from 0 to below 1, with 53 random bits.
    random() {
      const s = (this.state = BigInt.asUintN(128, this.state * 0x2360ed051fc65da44385df649fccf645n + this.increment));
      const mixed = BigInt.asUintN(64, (s >> 64n) ^ s), turn = s >> 122n;
      const bits = BigInt.asUintN(64, (mixed >> turn) | (mixed << (64n - turn)));
      return Number(bits >> 11n) / 2 ** 53;
    }

    // A vector of numbers from -bound to below bound.
    uniform(bound, size) {
      return Float64Array.from({ length: size }, () => -bound + 2 * bound * this.random());
    }
  }

  // Weight and bias of a linear layer, drawn as `minigrad.nn.Linear` does: uniform in [-1/sqrt(in), 1/sqrt(in)].
  function drawLinear(random, inputs, outputs) {
    const bound = 1 / Math.sqrt(inputs), rows = random.uniform(bound, inputs * outputs), weight = matrix(inputs, outputs);
    for (let j = 0; j < outputs; j++) for (let k = 0; k < inputs; k++) weight.data[k * outputs + j] = rows[j * inputs + k];
    return { weight: parameter(weight), bias: parameter(matrix(1, outputs, random.uniform(bound, outputs))) };
  }

  // ---- The network and its training.

  // Trains on `source`, the part `training` of the header with arrays in place of their ids.
  class Training {
    // settings: {learning_rate, width, batch_size}; the learning rate may be changed between two steps.
    constructor(source, settings) {
      this.source = source;
      this.settings = { ...settings };
      const random = new PCG64(source.random);
      const hidden = drawLinear(random, source.inputs, settings.width);
      const output = drawLinear(random, settings.width, source.classes);
      this.parameters = {
        "hidden.0.weight": hidden.weight,
        "hidden.0.bias": hidden.bias,
        "output.weight": output.weight,
        "output.bias": output.bias,
      };
      this.steps = 0;
      this.images = source.train.labels.length;
      this.stepsPerEpoch = Math.ceil(this.images / settings.batch_size);
    }

    // Rows of images as float64, scaled as minigrad does.
    batch({ images, labels }, indices) {
      const { inputs, scale } = this.source, x = matrix(indices.length, inputs), y = new Int32Array(indices.length);
      for (let i = 0; i < indices.length; i++) {
        const from = indices[i] * inputs, to = i * inputs;
        for (let k = 0; k < inputs; k++) x.data[to + k] = images[from + k] * scale;
        y[i] = labels[indices[i]];
      }
      return { x: node(x), labels: node(y) };
    }

    forward(x) {
      const p = this.parameters;
      const a1 = relu(linear(x, p["hidden.0.weight"], p["hidden.0.bias"]));
      return { a1, logits: linear(a1, p["output.weight"], p["output.bias"]) };
    }

    // The indices of the next batch. After the last stored epoch, the orders repeat.
    indices() {
      const epoch = Math.floor(this.steps / this.stepsPerEpoch), at = this.steps % this.stepsPerEpoch;
      const { orders } = this.source, begin = (epoch % (orders.length / this.images)) * this.images;
      const size = this.settings.batch_size;
      return orders.subarray(begin + at * size, begin + Math.min((at + 1) * size, this.images));
    }

    // Take one step. Returns the loss before the update and, per parameter, the norm of its gradient and the ratio of
    // the norm of its update to its own norm.
    step() {
      const { x, labels } = this.batch(this.source.train, this.indices()), rate = this.settings.learning_rate;
      const loss = crossEntropy(this.forward(x).logits, labels);
      backward(loss);
      const norms = {}, ratios = {};
      for (const [name, { value: w, gradient: g }] of Object.entries(this.parameters)) {
        norms[name] = norm(g);
        ratios[name] = (rate * norms[name]) / norm(w);
        for (let i = 0; i < w.data.length; i++) w.data[i] -= rate * g.data[i];
      }
      this.steps++;
      return { step: this.steps, loss: loss.value.data[0], norms, ratios };
    }

    // Loss and accuracy on one part, "train" or "test", and the share of its images for which each hidden unit is not 0.
    evaluate(part) {
      const work = this.evaluation(part);
      for (;;) {
        const { done, value } = work.next();
        if (done) return value;
      }
    }

    // The same as a generator, which pauses after a few milliseconds of work, so that the page can draw in between.
    *evaluation(part) {
      const images = this.source[part], n = images.labels.length, active = new Float64Array(this.settings.width);
      const size = Math.ceil(2500 / this.settings.width);
      let loss = 0, correct = 0;
      for (let begin = 0; begin < n; begin += size) {
        if (begin) yield;
        const indices = Array.from({ length: Math.min(size, n - begin) }, (_, i) => begin + i);
        const { x, labels } = this.batch(images, indices), { a1, logits } = this.forward(x);
        loss += crossEntropy(logits, labels).value.data[0] * indices.length;
        a1.value.data.forEach((value, i) => (active[i % active.length] += value !== 0 ? 1 : 0));
        labels.value.forEach((label, i) => (correct += largestColumn(logits.value, i) === label ? 1 : 0));
      }
      return { loss: loss / n, accuracy: correct / n, activity: active.map((count) => count / n) };
    }

    // The weights in minigrad's order (out, in), by their names.
    weights() {
      const result = {};
      for (const [name, { value }] of Object.entries(this.parameters)) result[name] = transposed(value).data;
      return result;
    }
  }

  function largestColumn(a, i) {
    const row = a.data.subarray(i * a.columns, (i + 1) * a.columns);
    return row.indexOf(row.reduce((x, y) => Math.max(x, y)));
  }

  function transposed(a) {
    const y = matrix(a.columns, a.rows);
    for (let i = 0; i < a.rows; i++) for (let j = 0; j < a.columns; j++) y.data[j * a.rows + i] = a.data[i * a.columns + j];
    return y;
  }

  // The largest |a_i - b_i|; NaN on both sides is equal.
  function largestDifference(a, b) {
    let largest = 0;
    for (let i = 0; i < b.length; i++) {
      if (Object.is(a[i], b[i])) continue;
      const difference = Math.abs(a[i] - b[i]);
      if (!(difference <= largest)) largest = difference;
    }
    return largest;
  }

  study.engine = { matrix, product, node, parameter, operation, backward, linear, relu, crossEntropy, PCG64, Training, largestDifference };
})();

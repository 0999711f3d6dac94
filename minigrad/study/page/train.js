// The tab "Train": trains the network of `study.engine` in the page, shows what happens inside, and compares every loss
// with minigrad's.
(() => {
  "use strict";
  const study = (window.study ??= {});
  const { html, digits, short } = study.draw;

  const FRAME = 12; // milliseconds of computation per frame, so that the page stays responsive
  const EVALUATE_EVERY = 50; // steps, or an eighth of an epoch if that is more; also at the end of each epoch
  const ANNOUNCE_EVERY = 6000; // milliseconds between two messages to a screen reader
  const SMOOTHING = 0.8;
  const NAMES = ["hidden.0.weight", "hidden.0.bias", "output.weight", "output.bias"];
  const SPEEDS = [["2", "2 steps/s"], ["30", "30 steps/s"], ["120", "120 steps/s"], ["Infinity", "as fast as possible"]];

  const percent = (x) => (Number.isFinite(x) ? `${(100 * x).toFixed(1)} %` : "–");
  const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

  // What the rows of the data are called.
  const things = (source) => (source.image ? "images" : "examples");

  // The part `training` of the header with arrays in place of their ids.
  function resolve({ arrays, training }) {
    const data = (ids) => Object.fromEntries(Object.entries(ids).map(([name, id]) => [name, arrays[id].data]));
    const { losses, weights } = training.reference;
    return {
      ...training,
      train: data(training.train),
      test: data(training.test),
      orders: arrays[training.orders].data,
      reference: { losses: arrays[losses].data, weights: data(weights) },
    };
  }

  // ---- What is measured while the network is trained.

  class History {
    constructor() {
      Object.assign(this, { steps: [], losses: [], smooth: [], average: 0, evaluations: [] });
      this.norms = Object.fromEntries(NAMES.map((name) => [name, []]));
      this.ratios = Object.fromEntries(NAMES.map((name) => [name, []]));
    }

    add({ step, loss, norms, ratios }) {
      this.average = SMOOTHING * this.average + (1 - SMOOTHING) * loss;
      this.steps.push(step);
      this.losses.push(loss);
      this.smooth.push(this.average / (1 - SMOOTHING ** step)); // without the bias towards 0 of the first steps
      for (const name of NAMES) {
        this.norms[name].push(norms[name]);
        this.ratios[name].push(ratios[name]);
      }
    }

    get latest() {
      return this.evaluations.at(-1);
    }
  }

  // The settings at the start, which are not the recipe's if this tab replaces parts of the recipe.
  const settingsName = (source) => (source.note ? "starting settings" : "recipe’s settings");

  // The largest difference from minigrad's losses and final weights, if the settings are those of the reference.
  class Proof {
    constructor(source) {
      this.reference = source.reference;
      this.defaults = source.defaults;
      this.name = settingsName(source);
      this.applies = true;
      this.loss = this.weights = null;
    }

    add({ step, loss }, training) {
      const { losses, weights } = this.reference, { settings } = training;
      this.applies &&= this.matches(settings);
      if (!this.applies || step > losses.length) return;
      this.loss = Math.max(this.loss ?? 0, study.engine.largestDifference([loss], [losses[step - 1]]));
      if (step < losses.length) return;
      const own = training.weights();
      this.weights = Math.max(...Object.keys(weights).map((name) => study.engine.largestDifference(own[name], weights[name])));
    }

    matches(settings) {
      return Object.keys(this.defaults).every((key) => settings[key] === this.defaults[key]);
    }

    text({ steps, settings }) {
      const total = this.reference.losses.length, { learning_rate, width, batch_size } = this.defaults;
      if (!this.applies || (this.loss === null && !this.matches(settings))) {
        return `Reference losses from minigrad: only for a training with the ${this.name} (learning rate ${learning_rate}, width ${width}, batch size ${batch_size}).`;
      }
      if (this.loss === null) return `Reference losses from minigrad: ${total}, one per step. The page compares each of its losses with them.`;
      const exact = (x) => (x === 0 ? "0" : x.toExponential(1).replace("-", "−"));
      const begin = `Reference losses from minigrad: largest difference so far ${exact(this.loss)}`;
      if (this.weights === null) return `${begin} (${steps} of ${total} steps).`;
      return `Reference losses from minigrad: largest difference ${exact(this.loss)} over all ${total} steps. Final weights: largest difference ${exact(this.weights)}.`;
    }
  }

  // ---- The elements of the tab.

  // A labelled input, its explanation and the place of its error message.
  function field(name, label, explanation, attributes) {
    const id = `train-${name}`, input = html("input", { id, "aria-describedby": `${id}-hint ${id}-error`, autocomplete: "off", ...attributes });
    const error = html("p", { id: `${id}-error`, class: "error", role: "alert" }), hint = html("span", { id: `${id}-hint` }, explanation);
    return { element: html("div", { class: "field" }, html("label", { for: id }, label), input), input, hint, error };
  }

  function card(id, title, explanation, ...content) {
    return html("section", { class: "card", "aria-labelledby": `train-${id}` }, html("h3", { id: `train-${id}` }, title), html("p", { class: "explain" }, explanation), ...content);
  }

  function legend(...entries) {
    return html("p", { class: "keys" }, ...entries.map(([style, text]) => html("span", {}, html("i", { class: `key ${style}` }), text)));
  }

  function tile(label) {
    const value = html("dd", {}, "–"), note = html("span", { class: "tile-note" });
    return { element: html("div", { class: "tile" }, html("dt", {}, label), value, note), value, note };
  }

  function rateList() {
    const rates = [0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
    return html("datalist", { id: "train-rates" }, ...rates.map((rate) => html("option", { value: String(rate) })));
  }

  // All elements that change, by name, and `root`, which contains them.
  function build(source) {
    const { images, tests } = sizes(source), guess = Math.log(source.classes);
    const view = {
      start: html("button", { type: "button", class: "primary" }, "Start"),
      step: html("button", { type: "button" }, "One step"),
      reset: html("button", { type: "button" }, "Reset"),
      restore: html("button", { type: "button", class: "text-button" }, settingsName(source).replace(/^./, (letter) => letter.toUpperCase())),
      speed: html("select", { id: "train-speed" }, ...SPEEDS.map(([value, text]) => html("option", { value, selected: value === "30" }, text))),
      rate: field("rate", "Learning rate", "Each step changes a weight by the learning rate times its gradient; you can change the rate during the training.", { inputmode: "decimal", list: "train-rates" }),
      width: field("width", "Width", ` The width is the number of hidden units, from 1 to ${source.max_width},`, { type: "number", min: 1, max: source.max_width }),
      batch: field("batch", "Batch size", ` and the batch size the number of ${things(source)} per step, from 1 to ${images.toLocaleString("en")}; a change of either starts the training again.`, { type: "number", min: 1, max: images }),
      proof: html("p", { class: "proof" }),
      notice: html("p", { class: "notice", role: "alert", hidden: true }),
      status: html("p", { class: "unseen", role: "status", "aria-live": "polite" }),
      progress: tile("Step"), loss: tile("Loss"), train: tile("Training accuracy"), test: tile("Test accuracy"), dead: tile("Dead units"), pace: tile("Speed"),
      lossChart: study.draw.chart({ label: "Loss per step. The table of epochs below has the values.", exact: digits, rule: { value: guess, text: `guessing: ln ${source.classes}` } }),
      accuracyChart: study.draw.chart({ label: "Training and test accuracy. The table of epochs below has the values.", format: (x) => `${Math.round(1000 * x) / 10} %`, top: 1 }),
      change: html("input", { type: "checkbox", id: "train-change" }),
      scale: html("span", {}),
      units: html("ul", { class: "units" }),
      rows: {},
      epochs: html("tbody"),
    };
    const tiles = ["progress", "loss", "train", "test", "dead", "pace"].map((name) => view[name].element);
    view.root = html(
      "div", { class: "train" },
      html("h2", { class: "unseen" }, "Training in the browser"),
      html("p", { class: "intro" }, introduction(source, images, tests)),
      html("div", { class: "controls" },
        html("div", { class: "train-buttons" }, view.start, view.step, view.reset, html("label", { for: "train-speed", class: "unseen" }, "Training speed"), view.speed, view.restore),
        html("div", { class: "settings" }, view.rate.element, view.width.element, view.batch.element, rateList()),
        view.rate.error, view.width.error, view.batch.error,
        html("p", { class: "hint" }, view.rate.hint, view.width.hint, view.batch.hint)),
      view.notice, view.status, html("dl", { class: "tiles" }, ...tiles), view.proof,
      html("div", { class: "pair" },
        card("loss", "Loss", `The mean of −ln p over the ${things(source)}, where p is the network’s probability of the correct class.`, view.lossChart.element, legend(["thin", "batch of the step"], ["smooth", "average of about 5 steps"], ["dashed", `test ${things(source)}`])),
        card("accuracy", "Accuracy", `The share of ${things(source)} whose largest output is that of the correct class; the network never trains on the test ${things(source)}.`, view.accuracyChart.element, legend(["solid", `${images.toLocaleString("en")} training ${things(source)}`], ["dashed", `${tests.toLocaleString("en")} test ${things(source)}`]))),
      weightsCard(source, view), parametersCard(view), epochsCard(view));
    return view;
  }

  function introduction(source, images, tests) {
    const { data, inputs, classes, defaults, note } = source;
    const text =
      `Your browser trains the network ${inputs}-${defaults.width}-${classes} on ${images.toLocaleString("en")} ${things(source)} of ${data} and tests it on ${tests.toLocaleString("en")}.` +
      " It starts from the same weights as minigrad, uses the same batches, and computes in float64 too, so that its losses can be compared with minigrad’s.";
    return note ? `${note} ${text}` : text;
  }

  const sizes = (source) => ({ images: source.train.labels.length, tests: source.test.labels.length });

  function weightsCard(source, view) {
    const pixels = source.image ? "pixel" : "input";
    return card("weights", "Weights of the hidden units",
      `Each picture shows the weights from all ${source.inputs.toLocaleString("en")} ${pixels}s to one hidden unit: a positive weight raises the unit, a negative one lowers it.` +
      ` The percentage is the share of training ${things(source)} for which the unit is not 0. A dead unit is 0 for all of them: it gets no gradient, and its weights do not change.`,
      html("div", { class: "weights-bar" },
        html("span", { class: "scale" }, "negative", html("i", { class: "gradient" }), "positive", view.scale),
        html("label", { class: "checkbox" }, view.change, " change since the start")),
      view.units);
  }

  function parametersCard(view) {
    const head = ["Parameter", "Shape", "Gradient norm", "Update-to-weight ratio"].map((text) => html("th", { scope: "col" }, text));
    const body = html("tbody");
    for (const name of NAMES) {
      const row = { shape: html("td"), norm: html("span", {}, "–"), ratio: html("span", {}, "–"), norms: study.draw.sparkline(), ratios: study.draw.sparkline() };
      view.rows[name] = row;
      body.append(html("tr", {}, html("th", { scope: "row" }, html("code", {}, name)), row.shape, html("td", {}, row.norm, row.norms.element), html("td", {}, row.ratio, row.ratios.element)));
    }
    return card("parameters", "Gradients and updates",
      "The gradient norm, the root of the sum of squares, says how steep the loss is in the direction of a parameter. The update-to-weight ratio is the norm of the last update divided by the norm of the parameter: about 0.001 to 0.01 is usual, and near 1 a step replaces the parameter. The lines have logarithmic axes.",
      html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Gradients and updates, table" }, html("table", {}, html("thead", {}, html("tr", {}, ...head)), body)));
  }

  function epochsCard(view) {
    const head = ["Epoch", "Mean loss of its steps", "Test loss", "Training accuracy", "Test accuracy"].map((text) => html("th", { scope: "col" }, text));
    return html("details", { class: "card epochs" }, html("summary", {}, "Table of epochs"),
      html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of epochs" }, html("table", {}, html("thead", {}, html("tr", {}, ...head)), view.epochs)));
  }

  // ---- The loop: steps and evaluations in short pieces, one per frame, so that the page is never blocked.

  class Trainer {
    constructor(source, view) {
      Object.assign(this, { source, view, running: false, scheduled: false, speed: 30 });
      this.reset(source.defaults);
    }

    reset(settings) {
      const { Training } = study.engine;
      this.training = new Training(this.source, settings);
      this.start = this.training.weights();
      this.history = new History();
      this.proof = new Proof(this.source);
      this.epochs = this.source.orders.length / this.training.images;
      Object.assign(this, { owed: 0, pace: null, cost: null, problem: null, fresh: true, announced: 0, drawn: 0, interval: 0 });
      this.timing = { since: performance.now(), steps: 0 };
      this.evaluation = this.evaluate();
      this.wake();
    }

    get limit() {
      return this.epochs * this.training.stepsPerEpoch;
    }

    get isComplete() {
      return this.training.steps >= this.limit;
    }

    run() {
      if (this.isComplete) this.epochs += this.source.orders.length / this.training.images;
      this.running = true;
      Object.assign(this, { owed: 1, last: performance.now(), timing: { since: performance.now(), steps: 0 } });
      this.wake();
    }

    pause() {
      this.running = false;
      if (this.training.steps && !this.problem && this.history.latest?.step !== this.training.steps) this.evaluation ??= this.evaluate();
      this.wake();
    }

    oneStep() {
      this.running = false;
      if (this.isComplete) this.epochs += this.source.orders.length / this.training.images;
      this.finishEvaluation();
      this.step();
      this.evaluation ??= this.problem ? null : this.evaluate();
      this.wake();
    }

    finishEvaluation() {
      while (this.evaluation && !this.evaluation.next().done);
      this.evaluation = null;
    }

    wake() {
      if (this.scheduled) return;
      this.scheduled = true;
      requestAnimationFrame((now) => this.frame(now));
    }

    frame(now) {
      this.scheduled = false;
      const deadline = performance.now() + FRAME;
      if (this.running) this.owe((now - this.last) / 1000);
      this.last = now;
      do {
        if (this.evaluation) {
          if (this.evaluation.next().done) this.evaluation = null;
        } else if (this.running && this.owed >= 1) {
          this.owed -= 1;
          this.step();
        } else break;
      } while (performance.now() < deadline);
      this.measure();
      this.draw();
      if (this.running || this.evaluation) this.wake();
    }

    // Add the steps that are due after `seconds`; a slow page does not catch up more than a tenth of a second.
    owe(seconds) {
      this.owed = this.speed === Infinity ? Infinity : Math.min(this.owed + Math.max(0, seconds) * this.speed, 1 + this.speed / 10);
    }

    step() {
      const begin = performance.now(), { training } = this, result = training.step();
      const cost = performance.now() - begin;
      this.cost = this.cost === null ? cost : 0.95 * this.cost + 0.05 * cost;
      this.timing.steps++;
      this.history.add(result);
      this.proof.add(result, training);
      const isFinite = [result.loss, ...Object.values(result.norms), ...Object.values(result.ratios)].every(Number.isFinite);
      if (!isFinite) {
        this.problem = result;
        this.running = false;
        return;
      }
      const { steps, stepsPerEpoch } = training, endsEpoch = steps % stepsPerEpoch === 0;
      const since = steps - (this.history.latest?.step ?? 0);
      if ((endsEpoch && since >= Math.min(8, this.limit)) || since >= Math.max(EVALUATE_EVERY, stepsPerEpoch / 8) || this.isComplete) this.evaluation = this.evaluate();
      if (this.isComplete) this.running = false;
    }

    // A generator: loss, accuracy and activity at the current weights.
    *evaluate() {
      const { training, history } = this, { steps } = training;
      const train = yield* training.evaluation("train");
      yield;
      const test = yield* training.evaluation("test");
      if (history === this.history) history.evaluations.push({ step: steps, train, test, activity: train.activity });
      this.fresh = true;
    }

    // Steps per second, over at least half a second.
    measure() {
      const seconds = (performance.now() - this.timing.since) / 1000;
      if (!this.running) return;
      if (seconds >= 0.5) {
        this.pace = this.timing.steps / seconds;
        this.timing = { since: performance.now(), steps: 0 };
      }
    }

    draw() {
      if (this.view.root.clientWidth) draw(this);
    }
  }

  // ---- Drawing.

  function draw(trainer) {
    const { view, training, history } = trainer, now = performance.now();
    const isStill = !trainer.running && !trainer.evaluation;
    view.start.textContent = trainer.running ? "Pause" : trainer.isComplete ? "Continue" : "Start";
    view.start.disabled = view.step.disabled = trainer.problem !== null;
    drawTiles(trainer);
    drawProof(trainer);
    if (!isStill && now - trainer.drawn < trainer.interval) return;
    const { steps, losses, smooth, evaluations } = history, at = evaluations.map((e) => e.step);
    view.lossChart.draw([
      { name: "batch", style: "thin", xs: steps, ys: losses },
      { name: "average", style: "smooth", xs: steps, ys: smooth },
      { name: "test", style: "dashed", xs: at, ys: evaluations.map((e) => e.test.loss) },
    ], trainer.limit);
    view.accuracyChart.draw([
      { name: "training", style: "solid", xs: at, ys: evaluations.map((e) => e.train.accuracy) },
      { name: "test", style: "dashed", xs: at, ys: evaluations.map((e) => e.test.accuracy) },
    ], trainer.limit);
    drawUnits(trainer);
    drawParameters(trainer);
    drawNotice(trainer);
    if (trainer.fresh) drawEpochs(trainer);
    announce(trainer, isStill, now);
    trainer.fresh = false;
    trainer.drawn = performance.now();
    trainer.interval = Math.max(60, 4 * (trainer.drawn - now)); // many steps take long to draw
    view.root.dataset.steps = training.steps;
    view.root.dataset.state = trainer.running ? "running" : trainer.evaluation ? "evaluating" : "still";
  }

  function drawTiles({ view, source, training, history, limit, epochs, pace, cost }) {
    const { steps, stepsPerEpoch } = training, latest = history.latest;
    const set = (tile, value, note = "") => {
      if (tile.value.textContent !== value) tile.value.textContent = value;
      if (tile.note.textContent !== note) tile.note.textContent = note;
    };
    const epoch = Math.min(Math.floor(steps / stepsPerEpoch) + 1, epochs);
    set(view.progress, steps.toLocaleString("en"), `of ${limit.toLocaleString("en")}, epoch ${epoch} of ${epochs}`);
    set(view.loss, history.smooth.length ? digits(history.smooth.at(-1)) : latest ? digits(latest.train.loss) : "–", history.smooth.length ? "smoothed over 5 steps" : `of the training ${things(source)}`);
    view.loss.value.dataset.value = String(history.losses.at(-1));
    set(view.train, latest ? percent(latest.train.accuracy) : "–", latest ? `at step ${latest.step.toLocaleString("en")}` : "");
    set(view.test, latest ? percent(latest.test.accuracy) : "–", latest ? `at step ${latest.step.toLocaleString("en")}` : "");
    const dead = latest ? latest.activity.filter((share) => share === 0).length : 0;
    set(view.dead, latest ? `${dead}` : "–", `of ${count(training.settings.width, "hidden unit")}`);
    view.dead.element.classList.toggle("is-bad", dead > 0);
    set(view.pace, pace ? `${pace < 10 ? pace.toFixed(1) : Math.round(pace).toLocaleString("en")}/s` : "–", cost === null ? "steps per second" : `steps; ${cost.toFixed(1)} ms per step`);
  }

  function drawProof({ view, proof, training }) {
    view.proof.textContent = proof.text(training);
    view.proof.dataset.loss = String(proof.loss);
    view.proof.dataset.weights = String(proof.weights);
    view.proof.classList.toggle("is-off", !proof.applies || !proof.matches(training.settings));
  }

  function color(style, name) {
    return style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi).map((x) => parseInt(x, 16));
  }

  function drawUnits({ view, training, history, source, start }) {
    const { width } = training.settings, shape = study.draw.pictureShape(source.image, source.inputs);
    if (view.units.children.length !== width) {
      view.units.replaceChildren(...Array.from({ length: width }, () => html("li", {}, html("canvas", { role: "img" }), html("span", { class: "unit-text" }))));
      view.units.classList.toggle("many", width > 24);
    }
    const weights = training.weights()["hidden.0.weight"], first = start["hidden.0.weight"];
    const values = view.change.checked ? weights.map((w, i) => w - first[i]) : weights;
    const limit = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
    const style = getComputedStyle(view.root);
    const colors = { negative: color(style, "--negative"), zero: color(style, "--zero"), positive: color(style, "--positive") };
    view.scale.textContent = `(full color: ±${short(limit)})`;
    [...view.units.children].forEach((item, j) => {
      const [canvas, text] = item.children, share = history.latest?.activity[j];
      study.draw.picture(canvas, values.subarray(j * source.inputs, (j + 1) * source.inputs), shape, limit, colors);
      const label = share === undefined ? "" : share === 0 ? "dead" : `${Math.round(100 * share) || "<1"} %`;
      if (text.textContent !== label) text.textContent = label;
      item.classList.toggle("dead", share === 0);
      canvas.setAttribute("aria-label", `Weights of hidden unit ${j}: ${share === 0 ? "the unit is dead" : `active for ${label} of the training ${things(source)}`}`);
      item.title = `Hidden unit ${j}: ${share === 0 ? `0 for all training ${things(source)}` : `active for ${label} of the training ${things(source)}`}`;
    });
  }

  function drawParameters({ view, training, history, limit }) {
    for (const name of NAMES) {
      const row = view.rows[name], { rows, columns } = training.parameters[name].value;
      row.shape.textContent = rows > 1 || name.endsWith("weight") ? `${columns} × ${rows}` : `${columns}`;
      for (const [cell, line, values] of [[row.norm, row.norms, history.norms[name]], [row.ratio, row.ratios, history.ratios[name]]]) {
        cell.textContent = values.length ? digits(values.at(-1)) : "–";
        cell.dataset.value = String(values.at(-1));
        line.draw(values, limit);
      }
    }
  }

  function drawEpochs({ view, training, history }) {
    const { stepsPerEpoch } = training;
    const rows = history.evaluations.filter(({ step }) => step && step % stepsPerEpoch === 0).map(({ step, train, test }) => {
      const part = history.losses.slice(step - stepsPerEpoch, step), mean = part.reduce((a, b) => a + b, 0) / part.length;
      const cells = [digits(mean), digits(test.loss), percent(train.accuracy), percent(test.accuracy)];
      return html("tr", {}, html("th", { scope: "row" }, String(step / stepsPerEpoch)), ...cells.map((text) => html("td", {}, text)));
    });
    view.epochs.replaceChildren(...rows);
  }

  // What is wrong with the training, and what to try; an empty text if nothing is.
  function advice({ problem, training, history, source }) {
    const { learning_rate: rate, width } = training.settings, guess = Math.log(source.classes);
    const lower = Number(Math.min(source.defaults.learning_rate || 0.1, rate / 10).toPrecision(2));
    if (problem) {
      const what = Number.isFinite(problem.loss) ? "The weights are no longer finite" : `The loss is ${short(problem.loss)}`;
      return `${what} at step ${problem.step}, so the training stopped: the steps were too large. Try a learning rate of ${lower} or less, and choose Reset.`;
    }
    const latest = history.latest;
    if (!latest || !training.steps) return "";
    const dead = latest.activity.filter((share) => share === 0).length;
    if (dead === width || dead >= Math.max(2, width / 2)) {
      const what = dead === width ? `All ${width} hidden units are dead, so only the output bias can still change` : `${dead} of ${width} hidden units are dead, so the network uses only the others`;
      return `${what}. A step was too large. Try a learning rate of ${lower} or less, and choose Reset.`;
    }
    if (history.smooth.at(-1) > 1.2 * guess && latest.train.loss > guess) {
      return `The loss is above ${short(guess)}, the loss of guessing. The steps are probably too large: try a learning rate of ${lower}, and choose Reset.`;
    }
    const ratios = NAMES.filter((name) => name.endsWith("weight")).map((name) => history.ratios[name].at(-1));
    if (rate === 0) return "The learning rate is 0, so no weight changes. Try 0.1.";
    if (training.steps >= 20 && Math.max(...ratios) < 1e-4 && latest.train.loss > 0.95 * guess) {
      return `One step changes a weight by less than 0.0001 of its norm, and the loss is about that of guessing, ${short(guess)}. The learning rate is probably too small: try ${Number((10 * rate).toPrecision(2))}.`;
    }
    return "";
  }

  function drawNotice(trainer) {
    const { notice } = trainer.view, text = advice(trainer);
    if (notice.textContent !== text) notice.textContent = text;
    notice.hidden = !text;
  }

  function announce(trainer, isStill, now) {
    const { view, training, history } = trainer, latest = history.latest;
    if (!training.steps || !latest || (!isStill && now - trainer.announced < ANNOUNCE_EVERY)) return;
    trainer.announced = now;
    const text = `Step ${training.steps}: loss ${digits(history.smooth.at(-1))}, training accuracy ${percent(latest.train.accuracy)}, test accuracy ${percent(latest.test.accuracy)}.`;
    if (view.status.textContent !== text) view.status.textContent = text;
  }

  // ---- Settings.

  // The settings in the fields, or null if one of them is invalid; then the field says what is expected.
  function read(view, source) {
    const { images } = sizes(source);
    const rules = [
      ["learning_rate", view.rate, "Learning rate", (x) => x >= 0 && x < Infinity, "a number of 0 or more, such as 0.1"],
      ["width", view.width, "Width", (x) => Number.isInteger(x) && x >= 1 && x <= source.max_width, `a whole number from 1 to ${source.max_width}`],
      ["batch_size", view.batch, "Batch size", (x) => Number.isInteger(x) && x >= 1 && x <= images, `a whole number from 1 to ${images.toLocaleString("en")}`],
    ];
    const settings = {};
    let isValid = true;
    for (const [key, { input, error }, label, accepts, expected] of rules) {
      const text = input.value.trim().replace(",", "."), value = text === "" ? NaN : Number(text), ok = accepts(value);
      input.setAttribute("aria-invalid", String(!ok));
      error.textContent = ok ? "" : `${label}: ${input.validity.badInput ? "not a number" : text || "empty"}; expected ${expected}.`;
      settings[key] = value;
      isValid &&= ok;
    }
    return isValid ? settings : null;
  }

  function write(view, settings) {
    view.rate.input.value = String(settings.learning_rate);
    view.width.input.value = String(settings.width);
    view.batch.input.value = String(settings.batch_size);
  }

  function connect(trainer) {
    const { view, source } = trainer;
    // Apply the fields; returns whether they are valid. Only the learning rate can change without starting again.
    const apply = (restart = false) => {
      const settings = read(view, source), current = trainer.training.settings;
      if (!settings) return false;
      if (restart || settings.width !== current.width || settings.batch_size !== current.batch_size) {
        trainer.running = false;
        trainer.reset(settings);
      } else current.learning_rate = settings.learning_rate;
      return true;
    };
    const guard = (action) => () => {
      if (apply() || trainer.running) action();
      else view.root.querySelector("[aria-invalid=true]").focus();
    };
    view.start.addEventListener("click", guard(() => (trainer.running ? trainer.pause() : trainer.run())));
    view.step.addEventListener("click", guard(() => trainer.oneStep()));
    view.reset.addEventListener("click", () => apply(true));
    view.restore.addEventListener("click", () => {
      write(view, source.defaults);
      apply(true);
    });
    for (const { input } of [view.rate, view.width, view.batch]) input.addEventListener("change", () => apply());
    view.speed.addEventListener("change", () => {
      trainer.speed = Number(view.speed.value);
      trainer.owed = 0;
    });
    const redraw = () => {
      trainer.fresh = true;
      trainer.wake();
    };
    view.change.addEventListener("change", redraw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new ResizeObserver(redraw).observe(view.root); // also when the tab is shown
  }

  // Build the tab in `container`. header: of `study.load()`.
  function start(header, container) {
    if (!header.training) {
      container.replaceChildren(html("p", {}, "Training in the page is not available for these data: the page is limited to 2 MB of images, and too few fit."));
      return null;
    }
    const source = resolve(header), view = build(source);
    write(view, source.defaults);
    const trainer = new Trainer(source, view);
    container.replaceChildren(view.root);
    connect(trainer);
    return trainer;
  }

  study.train = { start, resolve };
})();

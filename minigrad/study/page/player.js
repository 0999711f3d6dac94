// The step player: its state, the controls, and the panels that follow from it.
(function () {
  "use strict";
  const { span, plain, norm, text, product } = study.numbers;
  const { element, figure } = study.arrays;
  const $ = (id) => document.getElementById(id);

  const player = {
    header: null, opened: null, side: null, selection: new Map(), focus: null, cache: new Map(),
    state: { subject: "network", mistake: "", event: 0, image: 0 },
    event: () => player.opened.recording.events[player.state.event],
    select,
  };

  const recordingOf = (subject, mistake) => player.header.recordings.find((r) => r.subject === subject && (r.mistake || "") === mistake);

  function openRecording(subject, mistake) {
    const recording = recordingOf(subject, mistake), key = `${subject} ${mistake}`;
    if (!recording) return null;
    if (!player.cache.has(key)) player.cache.set(key, study.chain.open(player.header, recording));
    return player.cache.get(key);
  }

  // Whether all images of the batch can be shown: their rows are stored.
  const everyRow = () => player.opened.tensors.every((t) => t.row === null) && player.opened.tensors.some((t) => t.batch);

  // The first selection: the parameter element that moves the loss most.
  function firstFocus() {
    const { tensors, gradients } = player.opened;
    const k = Math.max(0, tensors.findIndex((t, n) => t.kind === "parameter" && gradients[n]));
    let best = 0;
    if (gradients[k]) gradients[k].data.forEach((x, i, data) => { if (Math.abs(x) > Math.abs(data[best])) best = i; });
    return { tensor: k, flat: best };
  }

  // keepFocus: the key that selected was pressed on a canvas, which gets the focus again.
  function select(tensor, flat, keepFocus) {
    const canvases = () => [...document.querySelectorAll("#step canvas")];
    const place = keepFocus ? canvases().indexOf(document.activeElement) : -1;
    player.focus = { tensor, flat };
    const row = study.chain.rowOf(player.opened.tensors[tensor], flat);
    if (row !== null && everyRow()) player.state.image = row;
    player.selection = study.chain.related(player.opened, tensor, flat, player.state.image);
    render();
    if (place >= 0) canvases()[place]?.focus({ preventScroll: true });
    $("selected").textContent = study.inspector.words(player.opened.tensors[tensor], flat);
  }

  function go(event) {
    const last = player.opened.recording.events.length - 1;
    player.state.event = Math.max(0, Math.min(last, event));
    render();
  }

  // The recording of a subject and a mistake; keeps the event and the selected element where possible.
  function show(subject, mistake) {
    const opened = openRecording(subject, mistake) || openRecording(subject, "");
    const before = player.opened && player.focus ? player.opened.tensors[player.focus.tensor].name : null;
    player.opened = opened;
    Object.assign(player.state, { subject, mistake: opened.recording.mistake || "" });
    const t = opened.tensors.findIndex((x) => x.name === before && x.kind === "parameter");
    player.focus = t >= 0 && player.focus.flat < product(opened.tensors[t].shape) ? { tensor: t, flat: player.focus.flat } : firstFocus();
    player.state.event = Math.min(player.state.event, opened.recording.events.length - 1);
    player.selection = study.chain.related(opened, player.focus.tensor, player.focus.flat, player.state.image);
    const slider = $("slider");
    slider.max = opened.recording.events.length - 1;
    $("ticks").replaceChildren(...opened.recording.events.map((e) => element("span", `tick ${e.kind}`)));
    switches();
    images();
    render();
  }

  function switches() {
    const { subject, mistake } = player.state, box = $("mistakes");
    const available = player.header.recordings.filter((r) => r.subject === subject && r.mistake);
    const missing = (player.header.unavailable || []).filter((r) => r.subject === subject);
    const all = [...available, ...missing], reasons = new Map();
    const rows = all.map((r) => {
      const input = element("input", "switch");
      Object.assign(input, { type: "checkbox", checked: r.mistake === mistake, disabled: !r.events, value: r.mistake });
      input.setAttribute("role", "switch");
      input.addEventListener("change", () => { show(subject, input.checked ? r.mistake : ""); remember(); focusSwitch(r.mistake); });
      const label = element("label", `toggle${r.events ? "" : " off"}`, input, element("span", "", r.title));
      if (r.reason) {
        reasons.set(r.reason, [...(reasons.get(r.reason) || []), r.title]);
        input.setAttribute("aria-describedby", `reason-${[...reasons.keys()].indexOf(r.reason)}`);
      }
      return label;
    });
    const notes = [...reasons].map(([reason, titles], n) => Object.assign(element("p", "soft", `${titles.join(", ")}: ${reason}`), { id: `reason-${n}` }));
    box.replaceChildren(...rows, ...notes);
  }

  const focusSwitch = (name) => document.querySelector(`#mistakes input[value="${name}"]`)?.focus();

  function note() {
    const { recording } = player.opened, box = $("note");
    box.replaceChildren(element("p", "", recording.note));
    box.classList.toggle("mistake", !!recording.mistake);
    $("differences").hidden = !recording.mistake;
    if (recording.mistake) $("differences").lastElementChild.replaceChildren(differences());
    $("loss").replaceChildren(`${player.opened.root === null ? "L" : plain(player.opened.tensors[player.opened.root].symbol)} = `, span(recording.loss, "loss"));
  }

  // Per parameter, the gradient with the mistake beside the correct one.
  function compare() {
    player.opened.compared ||= compared();
    return player.opened.compared;
  }

  function compared() {
    const { recording, tensors, gradients } = player.opened, right = openRecording(recording.subject, "");
    if (!recording.mistake || !right) return [];
    return tensors.flatMap((t, k) => {
      const other = right.tensors.findIndex((x) => x.name === t.name);
      if (t.kind !== "parameter" || other < 0 || !gradients[k] || !right.gradients[other]) return [];
      const a = gradients[k].data, b = right.gradients[other].data, distance = Math.sqrt(a.reduce((s, x, i) => s + (x - b[i]) ** 2, 0));
      const relative = distance / (norm(b) || 1);
      return [{ k, t, scalar: a.length === 1, own: a.length === 1 ? a[0] : norm(a), correct: a.length === 1 ? b[0] : norm(b), relative, wrong: relative > 1e-9 }];
    });
  }

  function differences() {
    const table = element("table", ""), head = element("tr", ""), body = element("tbody", ""), rows = compare();
    for (const name of ["parameter", "gradient", "correct", "difference"]) head.append(element("th", "", name));
    for (const row of rows) {
      const tr = element("tr", row.wrong ? "wrong" : ""), wrap = (x, name) => (row.scalar ? element("td", "", span(x, name)) : element("td", "", "‖", span(x, name), "‖"));
      const percent = element("td", "", row.wrong ? element("strong", "", `✗ ${text(row.relative * 100)} %`) : "✓ equal");
      percent.dataset.value = String(row.relative);
      tr.append(element("th", "", study.show.math(study.eventView.inline(player.opened, row.t)), " ", element("code", "", row.t.name)), wrap(row.own, "wrong"), wrap(row.correct, "correct"), percent);
      body.append(tr);
    }
    table.append(element("thead", "", head), body);
    const scroll = element("div", "scroll", table);
    scroll.tabIndex = 0;
    const box = element("div", "", scroll);
    if (rows.some((row) => !row.scalar)) box.append(element("p", "soft", "‖ ‖ is the norm, the root of the sum of squares. The difference is the norm of (gradient − correct), divided by that of the correct gradient."));
    return box;
  }

  // The images of the batch, to choose the one that is shown.
  function images() {
    const { batch, arrays } = player.header, box = $("images"), raw = arrays[batch.images];
    const batched = player.opened.tensors.some((t) => t.batch);
    box.hidden = !batched;
    if (!batched) return;
    const size = product(raw.shape.slice(1)), choose = everyRow(), select = $("image");
    select.replaceChildren(...Array.from({ length: batch.size }, (_, n) => {
      const option = element("option", "", `image ${n}, class ${className(n)}`);
      option.value = n;
      return option;
    }));
    select.disabled = !choose;
    $("image-note").textContent = choose ? "" : "The arrays of this network are large; the page stores only this image.";
    box.dataset.size = size;
  }

  function className(n) {
    const { batch, arrays } = player.header, label = arrays[batch.labels].data[n];
    return batch.class_names ? batch.class_names[label] : label;
  }

  function digit() {
    const { batch, arrays } = player.header, raw = arrays[batch.images], n = player.state.image, box = $("digit");
    if ($("images").hidden) return;
    const shape = raw.shape.slice(1), size = product(shape), rows = shape.length > 1 ? shape[0] : Math.sqrt(size), columns = shape.length > 1 ? shape[1] : rows;
    const canvas = element("canvas", ""), channels = shape.length > 2 ? shape[2] : 1;
    if (!Number.isInteger(rows)) { box.replaceChildren(); return; }
    [canvas.width, canvas.height] = [columns, rows];
    canvas.setAttribute("role", "img");
    const values = raw.data.subarray(n * size, (n + 1) * size), [low, high] = study.numbers.range(values);
    canvas.setAttribute("aria-label", `Image ${n}, class ${className(n)}, pixels from ${low} to ${high}`);
    const style = getComputedStyle(document.documentElement), rgb = (name) => style.getPropertyValue(name).split(",").map(Number);
    const paper = rgb("--cell-zero"), ink = rgb("--cell-ink"), pixels = new ImageData(columns, rows), top = high || 1;
    for (let i = 0; i < rows * columns; i++) {
      for (let k = 0; k < 3; k++) {
        const x = values[i * channels + (channels === 3 ? k : 0)] / top;
        pixels.data[i * 4 + k] = channels === 3 ? x * 255 : paper[k] + x * (ink[k] - paper[k]);
      }
      pixels.data[i * 4 + 3] = 255;
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    box.replaceChildren(canvas);
    $("image").value = n;
  }

  function render() {
    const { state, opened } = player, events = opened.recording.events, event = player.event(), { words } = study;
    const focusedTick = [...$("ticks").children];
    focusedTick.forEach((tick, k) => { tick.classList.toggle("now", k === state.event); tick.classList.toggle("past", k < state.event); });
    $("slider").value = state.event;
    $("slider").setAttribute("aria-valuetext", `step ${state.event + 1} of ${events.length}`);
    $("position").textContent = `${state.event + 1} / ${events.length}`;
    for (const id of ["first", "previous"]) $(id).disabled = state.event === 0;
    for (const id of ["next", "last"]) $(id).disabled = state.event === events.length - 1;
    $("phase").textContent = words.phase(event);
    $("phase").className = `phase ${event.kind}`;
    $("operation").textContent = words.title(opened, event);
    const sentence = words.sentence(opened, event);
    if ($("sentence").textContent !== sentence) $("sentence").textContent = sentence;
    const wrong = new Set(compare().filter((row) => row.wrong).map((row) => row.k));
    markWrong(event);
    study.graph.draw($("graph"), { opened, event: state.event, focus: player.focus.tensor, wrong, select: chooseTensor });
    study.eventView.render($("event"), player);
    inspect();
    note();
    digit();
    remember();
  }

  // The panel of the selected element stays as it is while only the event changes.
  function inspect() {
    const { subject, mistake, image } = player.state, { tensor, flat } = player.focus;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches, key = [subject, mistake, image, tensor, flat, dark].join(" ");
    if ($("inspector").dataset.key === key) return;
    $("inspector").dataset.key = key;
    study.inspector.render($("inspector"), player);
  }

  const chooseTensor = (k) => { select(k, player.selection.get(k) || 0); };

  function markWrong(event) {
    const k = event.kind === "backward" ? event.to : event.kind === "update" ? event.tensor : -1;
    const row = compare().find((r) => r.k === k && r.wrong), box = $("wrong"), cause = study.words.cause(player.opened, event, player.state.event);
    box.hidden = !row && !cause;
    box.replaceChildren(cause ? `${cause} ` : "");
    if (!row) return;
    const name = `d${plain(player.opened.tensors[player.opened.root].symbol)}/d${plain(row.t.symbol)}`;
    const parts = row.scalar ? [`In the end, ${name} = `, span(row.own, "wrong"), " instead of ", span(row.correct, "correct")]
      : [`In the end, ${name} is wrong: it differs from the correct gradient by `, span(row.relative * 100), " % of its norm"];
    box.append(...parts, ".");
  }

  // The state in the address.
  function remember() {
    if (!$("step").hidden) {
      const { subject, mistake, event } = player.state;
      history.replaceState(null, "", `#subject=${subject}&mistake=${mistake}&event=${event}`);
    }
  }

  function recall() {
    const hash = location.hash.slice(1);
    if (hash === "train") { tab("train"); return; }
    const values = new URLSearchParams(hash), subject = values.get("subject") || player.state.subject;
    const known = player.header.recordings.some((r) => r.subject === subject) ? subject : player.header.recordings[0].subject;
    const event = Number.parseInt(values.get("event") || "0", 10);
    player.state.event = Number.isInteger(event) && event > 0 ? event : 0;
    $("subject").value = known;
    tab("step");
    show(known, values.get("mistake") || "");
  }

  let training = false;
  function tab(name) {
    for (const id of ["step", "train"]) {
      const on = id === name;
      $(id).hidden = !on;
      $(`tab-${id}`).setAttribute("aria-selected", String(on));
      $(`tab-${id}`).tabIndex = on ? 0 : -1;
    }
    if (name !== "train" || training) return;
    training = true;
    if (study.train && player.header.training) study.train.start(player.header, $("train-content"));
    else $("train-content").append(element("p", "soft", "This page has no network to train."));
  }

  function openTab(name) {
    tab(name);
    if (name === "train") history.replaceState(null, "", "#train");
    else remember();
    if (name === "step" && !player.opened) recall();
  }

  function keys(event) {
    const inside = event.target.closest?.("input, select, textarea, [role=tab], [contenteditable], canvas");
    if ($("step").hidden || event.ctrlKey || event.metaKey || event.altKey || (inside && event.target.id !== "slider")) return;
    const moves = { ArrowLeft: () => go(player.state.event - 1), ArrowRight: () => go(player.state.event + 1), Home: () => go(0), End: () => go(Infinity) };
    if (!moves[event.key] || event.target.id === "slider") return;
    event.preventDefault();
    moves[event.key]();
  }

  function controls() {
    const subjects = player.header.recordings.filter((r) => !r.mistake);
    $("subject").replaceChildren(...subjects.map((r) => Object.assign(element("option", "", r.title), { value: r.subject })));
    $("subject").addEventListener("change", () => { player.state.event = 0; show($("subject").value, ""); });
    $("slider").addEventListener("input", () => go(Number($("slider").value)));
    $("first").addEventListener("click", () => go(0));
    $("previous").addEventListener("click", () => go(player.state.event - 1));
    $("next").addEventListener("click", () => go(player.state.event + 1));
    $("last").addEventListener("click", () => go(Infinity));
    $("image").addEventListener("change", () => {
      player.state.image = Number($("image").value);
      const { tensor, flat } = player.focus, t = player.opened.tensors[tensor];
      const inner = t.batch ? product(t.shape.slice(1)) : 0;
      player.focus.flat = t.batch ? player.state.image * inner + (flat % inner) : flat;
      player.selection = study.chain.related(player.opened, tensor, player.focus.flat, player.state.image);
      render();
    });
    for (const id of ["step", "train"]) $(`tab-${id}`).addEventListener("click", () => openTab(id));
    document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const other = $("step").hidden ? "step" : "train";
      openTab(other);
      $(`tab-${other}`).focus();
    });
    document.addEventListener("keydown", keys);
    window.addEventListener("hashchange", recall);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => player.opened && render());
  }

  // Height and width of an image with one channel, or null.
  function sideOf(header) {
    const shape = header.arrays[header.batch.images].shape.slice(1), side = Math.sqrt(shape[0]);
    if (shape.length === 1) return Number.isInteger(side) && side > 3 ? [side, side] : null;
    return shape.length === 2 || shape[2] === 1 ? shape.slice(0, 2) : null;
  }

  async function start() {
    player.header = await study.load();
    player.state.image = player.header.batch.shown;
    player.side = sideOf(player.header);
    controls();
    $("known").open = innerWidth > 640 || location.hash.includes("mistake=") && !location.hash.includes("mistake=&");
    recall();
    document.documentElement.dataset.ready = "true";
  }

  study.player = { start };
})();

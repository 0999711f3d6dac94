// Events of the page: what is drawn with the pointer or the keyboard is classified, and the table is updated.

const data = JSON.parse(document.getElementById("pad-data").textContent);
const find = (name) => document.querySelector(`#draw [data-pad="${name}"]`);
const [height, width] = data.shape;
const networks = data.networks.map(({ title, weights }) => ({ title, answer: makeNetwork(data.plan, weights) }));
const canvas = find("canvas");
const rows = [...find("answers").tBodies[0].rows];

const EMPTY = `The pad is empty. Draw something${data.examples.length ? ", or select a test image" : ""}.`;
const NEAR = 1 / 400; // fraction of the pad's side; points closer than this to the last one are skipped

const strokes = []; // lists of [x, y] in fractions of the pad's side
let image = null; // a test image shown on the pad instead of the strokes
const pen = { at: [0.5, 0.5], down: false, keys: false }; // `keys`: the pen is moved by the keyboard, and therefore shown

const isEmpty = () => !image && !strokes.length;
const pixels = () => image ?? drawImage(strokes, data.shape);

// Strokes

function begin(point) {
  if (image) clear();
  pen.down = true;
  strokes.push([point]);
  changed();
}

function extend(point) {
  const stroke = strokes.at(-1);
  const [x, y] = stroke.at(-1);
  if (Math.hypot(point[0] - x, point[1] - y) < NEAR) return;
  stroke.push(point);
  changed();
}

function end() {
  pen.down = false;
  changed();
}

function clear() {
  image = null;
  strokes.length = 0;
  end();
}

/** Remove the test image, or the last stroke. */
function undo() {
  if (image) image = null;
  else strokes.pop();
  end();
}

/** Show a test image on the pad. */
function show(values) {
  if (values.length !== height * width) {
    throw new RangeError(`${values.length} pixels; expected ${height * width}`);
  }
  image = Uint8Array.from(values);
  end();
}

// Pointer and keys

const inside = (value) => Math.min(Math.max(value, 0), 1);

function position(event) {
  const box = canvas.getBoundingClientRect();
  return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
}

canvas.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  pen.keys = false;
  begin(position(event));
});
canvas.addEventListener("pointermove", (event) => {
  if (!canvas.hasPointerCapture(event.pointerId) || !pen.down) return;
  const passed = event.getCoalescedEvents?.() ?? [];
  for (const each of passed.length ? passed : [event]) extend(position(each));
});
canvas.addEventListener("lostpointercapture", end);
canvas.addEventListener("blur", () => {
  pen.keys = false;
  end();
});
canvas.addEventListener("focus", () => {
  pen.keys = canvas.matches(":focus-visible");
  changed();
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function movePen([right, down]) {
  pen.at = [inside(pen.at[0] + right / 28), inside(pen.at[1] + down / 28)];
  if (pen.down) extend([...pen.at]);
}

function togglePen() {
  if (pen.down) end();
  else begin([...pen.at]);
}

const KEYS = { " ": togglePen, c: clear, Delete: clear, Backspace: clear, z: undo };

canvas.addEventListener("keydown", (event) => {
  const arrow = ARROWS[event.key];
  const action = arrow ? () => movePen(arrow) : KEYS[event.key];
  // Ctrl+Z undoes as z does; other combinations with Ctrl are left to the browser.
  if (!action || event.altKey || ((event.ctrlKey || event.metaKey) && event.key !== "z")) return;
  event.preventDefault();
  pen.keys = true;
  if (arrow || !event.repeat) action();
  changed();
});

find("clear").addEventListener("click", clear);
find("undo").addEventListener("click", undo);
data.examples.forEach((example, i) => {
  const button = find(`example-${i}`);
  const values = bytes(example.pixels);
  paintPixels(button.firstElementChild, { values, height, width });
  button.addEventListener("click", () => show(values));
});

// Answers

const answersTo = (values) => networks.map(({ title, answer }) => ({ title, values: answer(values) }));

let waiting = false;

/** Update the page, at most once per frame of the screen. */
function changed() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const values = pixels();
    const answers = isEmpty() ? [] : merged(answersTo(values));
    const summary = find("summary");
    summary.setAttribute("aria-busy", pen.down); // announced when the pen is lifted
    summary.textContent = answers.length ? sentence(answers, data.names) : EMPTY;
    find("pen").textContent = pen.down ? "down" : "up";
    paintPad(canvas, { strokes, image: image && { values: image, height, width }, pen });
    paintPixels(find("seen"), { values, height, width });
    fillTable(find("answers").tHead.rows[0], rows, answers);
  });
}

new ResizeObserver(changed).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
changed();

window.pad = {
  /** Return the probabilities of each class by the network's title; empty if the pad is empty. */
  answers: () => (isEmpty() ? {} : Object.fromEntries(answersTo(pixels()).map(({ title, values }) => [title, values]))),
  /** Return the pixels of the networks' input, row by row, 0 to 255. */
  image: () => Array.from(pixels()),
  show,
};

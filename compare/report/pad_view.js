// Drawing on the screen: the pad, the networks' input, the summary and the table.

/** Paint an image white on black, as in MNIST, at one pixel per pixel. */
function paintPixels(target, { values, height, width }) {
  const painted = new ImageData(width, height);
  values.forEach((value, at) => painted.data.set([value, value, value, 255], 4 * at));
  target.getContext("2d").putImageData(painted, 0, 0);
}

/** Paint the strokes or the test image, and the pen if the keyboard moves it. */
function paintPad(canvas, { strokes, image, pen }) {
  const side = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, side, side);
  context.fillStyle = context.strokeStyle = getComputedStyle(canvas).color;
  if (image) paintImage(context, image, side);
  else for (const stroke of strokes) paintStroke(context, stroke, side);
  if (pen.keys) paintPen(context, pen, side, getComputedStyle(canvas).outlineColor);
}

function paintStroke(context, stroke, side) {
  context.lineWidth = LINE * side;
  context.lineCap = context.lineJoin = "round";
  const path = new Path2D();
  for (const [x, y] of stroke) path.lineTo(x * side, y * side);
  context.stroke(path);
  const dot = new Path2D(); // a path of one point draws no line
  dot.arc(stroke[0][0] * side, stroke[0][1] * side, (LINE * side) / 2, 0, 2 * Math.PI);
  context.fill(dot);
}

/** Paint a test image in the middle of the pad, in the pad's ink colour. */
function paintImage(context, { values, height, width }, side) {
  const size = side / Math.max(height, width);
  const x = (column) => Math.round(side / 2 + size * (column - width / 2));
  const y = (row) => Math.round(side / 2 + size * (row - height / 2));
  values.forEach((value, at) => {
    const [row, column] = [Math.floor(at / width), at % width];
    context.globalAlpha = value / 255;
    context.fillRect(x(column), y(row), x(column + 1) - x(column), y(row + 1) - y(row));
  });
  context.globalAlpha = 1;
}

/** Paint the keyboard's pen as a ring, with a dot in it while the pen is down. */
function paintPen(context, pen, side, colour) {
  context.fillStyle = context.strokeStyle = colour;
  context.lineWidth = side / 140;
  const circle = (radius) => {
    const path = new Path2D();
    path.arc(pen.at[0] * side, pen.at[1] * side, radius * side, 0, 2 * Math.PI);
    return path;
  };
  context.stroke(circle(LINE * 0.8));
  if (pen.down) context.fill(circle(LINE * 0.3));
}

const SHOWN = 10; // maximum number of rows in the table

const percent = (p) => (Number.isNaN(p) ? "not a number" : `${Math.round(100 * p)} %`);
const largest = (values) => values.indexOf(Math.max(...values)); // -1 if all are NaN

/** Return the answers with one title and their mean if all networks select the same class, else as they are. */
function merged(answers) {
  const labels = new Set(answers.map(({ values }) => largest(values)));
  if (answers.length < 2 || labels.size > 1 || labels.has(-1)) return answers;
  const mean = (_, label) => answers.reduce((sum, { values }) => sum + values[label], 0) / answers.length;
  const title = answers.length === 2 ? "both contenders" : `all ${answers.length} contenders`;
  return [{ title, values: [...answers[0].values].map(mean) }];
}

/** Return a summary such as "3: minigrad 98 %, Keras 97 %; 5: torch 51 %", the class of most networks first. */
function sentence(answers, names) {
  const groups = new Map();
  for (const { title, values } of answers) {
    const label = largest(values);
    groups.set(label, [...(groups.get(label) ?? []), `${title} ${percent(Math.max(...values))}`]);
  }
  return [...groups]
    .sort(([a, one], [b, other]) => other.length - one.length || a - b)
    .map(([label, group]) => (label < 0 ? "" : `${names[label]}: `) + group.join(", "))
    .join("; ");
}

/** Fill one row per class and one column per answer; of many classes, show the most probable ones. */
function fillTable(heading, rows, answers) {
  [...heading.cells].slice(1).forEach((cell, i) => {
    cell.hidden = i > 0 && i >= answers.length;
    cell.textContent = answers[i]?.title ?? "";
  });
  const best = rows.map((_, label) => Math.max(...answers.map(({ values }) => values[label])));
  const likeliest = [...best.keys()].sort((a, b) => best[b] - best[a]).slice(0, SHOWN);
  rows.forEach((row, label) => {
    row.hidden = !likeliest.includes(label);
    [...row.cells].slice(1).forEach((cell, i) => {
      const values = answers[i]?.values;
      cell.hidden = i > 0 && i >= answers.length;
      cell.textContent = values ? percent(values[label]) : "";
      cell.style.setProperty("--p", values?.[label] || 0);
      cell.classList.toggle("best", Boolean(values) && largest(values) === label);
    });
  });
}

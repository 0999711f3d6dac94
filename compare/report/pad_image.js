// Converts strokes to an image as MNIST was made (Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten
// digits): black and white ink is scaled, with its aspect ratio kept, to fit a box of 20 x 20 pixels, where averaging
// makes it grey. The box is moved by whole pixels in a field of 28 x 28 so that the ink's centre of mass,
//   row = sum(i * v[i, j]) / sum(v),   column = sum(j * v[i, j]) / sum(v),
// is as close as possible to row 14 and column 14, counted from 0, as in all images of MNIST.
// Fields of other sizes use the same fractions. Unlike in MNIST, the thickness of a line is set after the scaling, so
// that a small drawing does not become a blot.
// Strokes are lists of [x, y] in fractions of the pad's side.

const LINE = 2.25 / 28; // thickness, as a fraction of the pad's side and of the field's shorter side: MNIST's average
const BOX = 20 / 28; // size of the box, as a fraction of the field's height and width
const FINE = 160; // black or white points across the box, before averaging

/** Return the strokes as height * width pixels, 0 to 255. */
function drawImage(strokes, [height, width]) {
  const field = new Uint8Array(height * width);
  if (!strokes.length) return field;
  const box = [height, width].map((size) => Math.max(1, Math.round(size * BOX)));
  const grey = inkInBox(strokes, box, Math.max(1, LINE * Math.min(height, width)));
  const mass = [0, 0, 0];
  grey.forEach((v, at) => {
    mass[0] += v;
    mass[1] += v * Math.floor(at / box[1]);
    mass[2] += v * (at % box[1]);
  });
  const [top, left] = [height, width].map((size, axis) =>
    Math.min(Math.max(Math.round(size / 2 - mass[axis + 1] / mass[0]), 0), size - box[axis]),
  );
  grey.forEach((v, at) => {
    field[(top + Math.floor(at / box[1])) * width + left + (at % box[1])] = Math.round(255 * v);
  });
  return field;
}

/** Return the strokes as pixels from 0 to 1, scaled to fit the box and centred in it. */
function inkInBox(strokes, [height, width], line) {
  const points = strokes.flat();
  const [x, y] = [0, 1].map((axis) => {
    const along = points.map((point) => point[axis]);
    return { low: along.reduce((a, b) => Math.min(a, b)), high: along.reduce((a, b) => Math.max(a, b)) };
  });
  // The extent of a dot is 0; it is taken as the thickness of the line.
  const scale = Math.min(
    (width - line) / Math.max(x.high - x.low, LINE),
    (height - line) / Math.max(y.high - y.low, LINE),
  );
  const fine = Math.max(4, Math.round(FINE / Math.max(height, width)));
  const toBox = ([px, py]) => [
    fine * (width / 2 + scale * (px - (x.low + x.high) / 2)),
    fine * (height / 2 + scale * (py - (y.low + y.high) / 2)),
  ];
  const ink = { points: new Uint8Array(height * width * fine * fine), height: height * fine, width: width * fine };
  for (const stroke of strokes) {
    const path = stroke.map(toBox);
    path.forEach((point, i) => blacken(ink, path[Math.max(i - 1, 0)], point, (fine * line) / 2));
  }
  const grey = new Float64Array(height * width);
  ink.points.forEach((black, at) => {
    const [i, j] = [Math.floor(at / ink.width / fine), Math.floor((at % ink.width) / fine)];
    grey[i * width + j] += black / (fine * fine);
  });
  return grey;
}

/** Blacken all points within `radius` of the segment from a to b. */
function blacken({ points, height, width }, a, b, radius) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length2 = dx * dx + dy * dy;
  const from = (axis) => Math.max(0, Math.floor(Math.min(a[axis], b[axis]) - radius));
  const to = (axis, size) => Math.min(size, Math.ceil(Math.max(a[axis], b[axis]) + radius));
  for (let i = from(1); i < to(1, height); i++) {
    for (let j = from(0); j < to(0, width); j++) {
      const [px, py] = [j + 0.5 - a[0], i + 0.5 - a[1]];
      const along = length2 ? Math.min(Math.max((px * dx + py * dy) / length2, 0), 1) : 0;
      if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= radius * radius) points[i * width + j] = 1;
    }
  }
}

// The forward pass of a trained network for one image, like minigrad.classifier.Classifier.predict, then softmax.
// Images and weights are flat arrays in row-major order, channels first.

const ACTIVATIONS = {
  relu: (x) => Math.max(x, 0),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

const LAYERS = { linear, conv: (x, layer) => maxPool(convolve(x, layer), layer) };

/** Return a function from pixels, 0 to 255, to the probability of each class. */
function makeNetwork(plan, encoded) {
  const layers = plan.layers.map((layer) => ({ ...layer, ...fold(layer, encoded, plan.eps) }));
  const activation = ACTIVATIONS[plan.activation];
  return (pixels) => {
    let x = Float64Array.from(pixels, (pixel) => pixel * plan.scale);
    for (const layer of layers) {
      x = LAYERS[layer.kind](x, layer);
      if (layer.name !== "output") x = x.map(activation);
    }
    return softmax(x);
  };
}

/**
 * Return a layer's weight and bias. Batch norm is folded in, since
 * (w x - mean) / sqrt(var + eps) * gamma + beta is linear in x.
 */
function fold({ name, norm }, encoded, eps) {
  const weight = floats(encoded[`${name}.weight`]);
  if (!norm) return { weight, bias: floats(encoded[`${name}.bias`]) };
  const [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map((key) =>
    floats(encoded[`${norm}.${key}`]),
  );
  const factor = gamma.map((g, i) => g / Math.sqrt(variance[i] + eps));
  const fanIn = weight.length / factor.length;
  return {
    weight: weight.map((w, i) => w * factor[Math.floor(i / fanIn)]),
    bias: beta.map((b, i) => b - mean[i] * factor[i]),
  };
}

function linear(x, { weight, bias }) {
  return bias.map((start, row) => {
    let sum = start;
    for (let i = 0, at = row * x.length; i < x.length; i++, at++) sum += weight[at] * x[i];
    return sum;
  });
}

/** Convolve with zero padding, so that height and width stay the same. */
function convolve(x, { weight, bias, channels, height, width, kernel_size: size }) {
  const area = height * width;
  const pad = size >> 1;
  const out = new Float64Array(bias.length * area);
  for (let o = 0, at = 0; o < bias.length; o++) {
    const y = out.subarray(o * area, (o + 1) * area).fill(bias[o]);
    for (let c = 0; c < channels; c++) {
      for (let k = 0; k < size * size; k++, at++) {
        const down = Math.floor(k / size) - pad;
        const right = (k % size) - pad;
        for (let i = Math.max(0, -down); i < Math.min(height, height - down); i++) {
          const from = c * area + (i + down) * width + right;
          for (let j = Math.max(0, -right); j < Math.min(width, width - right); j++) {
            y[i * width + j] += weight[at] * x[from + j];
          }
        }
      }
    }
  }
  return out;
}

/** Max-pool 2 x 2 pixels; an odd last row or column is dropped. */
function maxPool(x, { bias, height, width }) {
  const [rows, columns] = [height >> 1, width >> 1];
  const out = new Float64Array(bias.length * rows * columns);
  for (let o = 0, to = 0; o < bias.length; o++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++, to++) {
        const at = (o * height + 2 * i) * width + 2 * j;
        out[to] = Math.max(x[at], x[at + 1], x[at + width], x[at + width + 1]);
      }
    }
  }
  return out;
}

function softmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((z) => Math.exp(z - largest));
  const sum = powers.reduce((a, b) => a + b);
  return Array.from(powers, (p) => p / sum);
}

function bytes(text) {
  const characters = atob(text);
  const out = new Uint8Array(characters.length);
  for (let i = 0; i < out.length; i++) out[i] = characters.charCodeAt(i);
  return out;
}

/** Decode little-endian float32 numbers. */
function floats(text) {
  const view = new DataView(bytes(text).buffer);
  const out = new Float64Array(view.byteLength / 4);
  for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
  return out;
}

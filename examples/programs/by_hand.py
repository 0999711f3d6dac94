"""MNIST in NumPy, with the gradients written by hand: 784-10-10 with ReLU, gradient descent with batches of 128."""

import numpy as np

from minigrad.datasets import Split, load

EPOCHS = 10


def arrays(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, (n, 784) float32 from 0 to 1, and the labels."""
    return split.images.reshape(-1, 784) / np.float32(255), split.labels


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the hidden activations and the logits."""
    hidden = np.maximum(x @ w1 + b1, 0)
    return hidden, hidden @ w2 + b2


rng = np.random.default_rng(42)
data = load("mnist")
images, labels = arrays(data.train)

w1 = rng.normal(0, (2 / 784) ** 0.5, (784, 10)).astype(np.float32)
w2 = rng.normal(0, (2 / 10) ** 0.5, (10, 10)).astype(np.float32)
b1, b2 = np.zeros(10, np.float32), np.zeros(10, np.float32)

for epoch in range(EPOCHS):
    order = rng.permutation(len(labels))
    for start in range(0, len(order), 128):
        batch = order[start : start + 128]
        x, rows = images[batch], np.arange(len(batch))
        hidden, logits = forward(x)
        # The gradient of the loss by the logits is softmax(logits) - onehot(labels), divided by the batch size.
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        loss = -np.log(probabilities[rows, labels[batch]]).mean()
        probabilities[rows, labels[batch]] -= 1
        d_logits = probabilities / len(batch)
        d_hidden = (d_logits @ w2.T) * (hidden > 0)
        w2 -= 0.1 * hidden.T @ d_logits
        b2 -= 0.1 * d_logits.sum(axis=0)
        w1 -= 0.1 * x.T @ d_hidden
        b1 -= 0.1 * d_hidden.sum(axis=0)
    print(f"epoch {epoch + 1}: loss of the last batch {loss:.4f}")

images, labels = arrays(data.test)
predicted = forward(images)[1].argmax(axis=1)
print(f"test accuracy: {(predicted == labels).mean():.4f}")

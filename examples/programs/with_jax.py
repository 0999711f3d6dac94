"""MNIST in JAX: 784-10-10 with ReLU, gradient descent with batches of 128."""

import jax
import numpy as np
from jax import Array
from jax import numpy as jnp
from jax.typing import ArrayLike

from minigrad.datasets import Split, load

EPOCHS = 10
Weights = dict[str, Array]


def init(key: Array) -> Weights:
    """Return random weights, scaled by the number of inputs, and zero biases."""
    first, second = jax.random.split(key)
    return {
        "w1": jax.random.normal(first, (784, 10)) * (2 / 784) ** 0.5,
        "b1": jnp.zeros(10),
        "w2": jax.random.normal(second, (10, 10)) * (2 / 10) ** 0.5,
        "b2": jnp.zeros(10),
    }


def predict(weights: Weights, images: ArrayLike) -> Array:
    """Return the logits of images."""
    hidden = jax.nn.relu(images @ weights["w1"] + weights["b1"])
    return hidden @ weights["w2"] + weights["b2"]


def loss(weights: Weights, images: Array, labels: Array) -> Array:
    """Return the mean cross-entropy of a batch."""
    log_probabilities = jax.nn.log_softmax(predict(weights, images))
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1).mean()


@jax.jit
def step(weights: Weights, images: Array, labels: Array) -> tuple[Weights, Array]:
    """Return the weights after one step of gradient descent, and the loss before it."""
    value, gradients = jax.value_and_grad(loss)(weights, images, labels)
    return jax.tree.map(lambda w, g: w - 0.1 * g, weights, gradients), value


def arrays(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, (n, 784) float32 from 0 to 1, and the labels."""
    return split.images.reshape(-1, 784) / np.float32(255), split.labels


data = load("mnist")
images, labels = arrays(data.train)
weights, rng = init(jax.random.key(42)), np.random.default_rng(42)
for epoch in range(EPOCHS):
    order = rng.permutation(len(labels))
    for start in range(0, len(order), 128):
        batch = order[start : start + 128]
        weights, value = step(weights, images[batch], labels[batch])
    print(f"epoch {epoch + 1}: loss of the last batch {value:.4f}")

images, labels = arrays(data.test)
accuracy = (predict(weights, images).argmax(1) == labels).mean()
print(f"test accuracy: {accuracy:.4f}")

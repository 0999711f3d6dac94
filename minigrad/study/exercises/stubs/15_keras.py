"""15 keras: the same training step in Keras.

The task is that of exercise 14: one step of gradient descent on a 2-layer
network with ReLU and cross-entropy, compared with minigrad for 3 steps, to
1e-12. Use Keras layers on TensorFlow.

All arguments and results are NumPy arrays in float64. The weights are a dict:

    "hidden.0.weight" (hidden, inputs)     "hidden.0.bias" (hidden,)
    "output.weight" (classes, hidden)      "output.bias" (classes,)

The kernel of keras.layers.Dense has the shape (inputs, outputs): it computes
x K + b. So K is the transpose of "hidden.0.weight", and K's gradient must be
transposed back. A layer has weights only after keras.Sequential was called
with a keras.Input((inputs,)) and the layers. Useful:
layer.set_weights([kernel, bias]), layer.kernel, layer.bias, tf.GradientTape,
tape.gradient(loss, list of variables),
keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True),
which returns one loss per image, and tensor.numpy().
"""

import keras
import tensorflow as tf

keras.config.set_floatx("float64")  # the default is float32


def train_step(weights, x, labels, lr):
    """Return (loss, gradients, new_weights) of one step of gradient descent.

    weights is the dict above, x (n, inputs) and labels (n,) are one batch, lr
    is the learning rate. loss is a number: the mean cross-entropy. gradients
    and new_weights are dicts of arrays with the keys and shapes of weights.
    weights must not be changed.
    """
    raise NotImplementedError

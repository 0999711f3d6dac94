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
    hidden = keras.layers.Dense(len(weights["hidden.0.bias"]), activation="relu")
    output = keras.layers.Dense(len(weights["output.bias"]))
    model = keras.Sequential([keras.Input((x.shape[1],)), hidden, output])
    hidden.set_weights([weights["hidden.0.weight"].T, weights["hidden.0.bias"]])
    output.set_weights([weights["output.weight"].T, weights["output.bias"]])

    with tf.GradientTape() as tape:
        losses = keras.losses.sparse_categorical_crossentropy(labels, model(x), from_logits=True)
        loss = tf.reduce_mean(losses)
    variables = [hidden.kernel, hidden.bias, output.kernel, output.bias]
    kernel1, bias1, kernel2, bias2 = (g.numpy() for g in tape.gradient(loss, variables))

    gradients = {
        "hidden.0.weight": kernel1.T,
        "hidden.0.bias": bias1,
        "output.weight": kernel2.T,
        "output.bias": bias2,
    }
    new_weights = {name: array - lr * gradients[name] for name, array in weights.items()}
    return float(loss), gradients, new_weights

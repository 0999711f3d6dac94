"""The trainers of `benchmarks.keras`: functions that train, and call `turn` before each epoch and at the end."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import datasets, recipes
from minigrad.recipes import Model
from minigrad.runs import weights as weights_file

BATCH, SEED, RATE, HIDDEN, HELD_OUT = 128, 42, 0.1, 10, 5000
Weights = dict[str, np.ndarray]
# Called with the number of completed epochs, and a function that returns the weights.
Turn = Callable[[int, Callable[[], Weights]], None]


def start() -> Weights:
    """Return the initial weights of all trainers."""
    rng = np.random.default_rng(SEED)
    shapes = recipes.sizes(Model(hidden=[HIDDEN]), (28, 28), 10).shapes(Model(hidden=[HIDDEN]))
    return {name: rng.uniform(-0.03, 0.03, shape).astype(np.float32) for name, shape in shapes.items()}


def ours(data: datasets.Dataset, epochs: int, turn: Turn) -> None:
    """Train with `keras_model fit`. Its start and its test are not timed."""
    import keras

    from keras_model import training
    from keras_model.model import get_weights

    class Turns(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            turn(epoch, lambda: get_weights(self.model))

        def on_train_end(self, logs: Any = None) -> None:
            turn(epochs, dict)

    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder, "start.safetensors")
        weights_file.write(first, start(), {})
        recipe = recipes.Recipe(
            seed_everything=SEED,
            model=Model(hidden=[HIDDEN], learning_rate=RATE, weights=str(first)),
            data=recipes.Data(batch_size=BATCH),
            trainer=recipes.Trainer(max_epochs=epochs),
        )
        training.fit(recipe, data, Path(folder, "run"), callbacks=[Turns()])


def default(data: datasets.Dataset, epochs: int, turn: Turn) -> None:
    """Train with `fit` on arrays, as in most introductions. Sorting them into the shared order is not timed."""
    import keras

    from keras_model.model import get_weights, set_weights

    net = keras.Sequential(
        [
            keras.Input((28, 28), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(HIDDEN, activation="relu", name="hidden_0"),
            keras.layers.Dense(10, name="output"),
        ]
    )
    set_weights(net, start())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(RATE), loss, metrics=["accuracy"])
    for epoch in range(epochs):
        order = datasets.epoch_order(len(data.train.labels), SEED, epoch)
        x, y = data.train.images[order], data.train.labels[order]
        turn(epoch, lambda: get_weights(net))
        net.fit(x, y, batch_size=BATCH, shuffle=False, validation_data=tuple(data.validation), verbose=0)
    turn(epochs, dict)


def loop(data: datasets.Dataset, epochs: int, turn: Turn) -> None:
    """Train with TensorFlow without Keras: one call of a `tf.function` per step, with the indices of the batch."""
    import tensorflow as tf

    images, labels = map(tf.constant, data.train)
    held_out, expected = map(tf.constant, data.validation)
    w1, b1, w2, b2 = (tf.Variable(a.T if a.ndim == 2 else a) for a in start().values())
    variables = (w1, b1, w2, b2)
    total, correct = tf.Variable(0.0), tf.Variable(0, dtype=tf.int64)

    def forward(x: Any) -> Any:
        x = tf.reshape(tf.cast(x, tf.float32) * (1 / 255), (-1, 784))
        return tf.nn.relu(x @ w1 + b1) @ w2 + b2

    def measure(z: Any, y: Any) -> tuple[Any, Any]:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, z)
        return losses, tf.reduce_sum(tf.cast(tf.argmax(z, 1) == y, tf.int64))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def step(indices: Any) -> None:
        y = tf.gather(labels, indices)
        with tf.GradientTape() as tape:
            losses, right = measure(forward(tf.gather(images, indices)), y)
            loss = tf.reduce_mean(losses)
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(RATE * gradient)
        total.assign_add(tf.reduce_sum(losses))
        correct.assign_add(right)

    @tf.function
    def validate() -> tuple[Any, Any]:
        losses, right = measure(forward(held_out), expected)
        return tf.reduce_mean(losses), right

    names = list(start())
    for epoch in range(epochs):
        turn(epoch, lambda: {n: v.numpy().T for n, v in zip(names, variables, strict=True)})
        for batch in datasets.batches(len(data.train.labels), BATCH, SEED, epoch):
            step(tf.constant(batch))
        _ = [float(value) for value in (*validate(), total, correct)]  # waits for the end of the epoch
    turn(epochs, dict)


def setting(data: datasets.Dataset, epochs: int, turn: Turn, steps_per_execution: int, jit_compile: int) -> None:
    """Train with the network, data and optimizer of `keras_model`, without its callbacks."""
    import keras

    from keras_model.data import CurrentEpoch, training_data, validation_data
    from keras_model.devices import DeviceGroup
    from keras_model.model import build_model, compile_model, get_weights, set_weights

    model, size = Model(hidden=[HIDDEN], learning_rate=RATE), len(data.train.labels)
    net, current = build_model(model), CurrentEpoch()
    set_weights(net, start())
    compile_model(net, model, -(-size // BATCH), steps_per_execution=steps_per_execution)
    net.jit_compile = bool(jit_compile)

    class Turns(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            turn(epoch, lambda: get_weights(net))

        def on_train_end(self, logs: Any = None) -> None:
            turn(epochs, dict)

    net.fit(
        training_data(data.train, lambda epoch: list(datasets.batches(size, BATCH, SEED, epoch)), current),
        epochs=epochs,
        verbose=0,
        shuffle=False,
        validation_data=validation_data(data.validation, current, DeviceGroup()),
        callbacks=[current, Turns()],
    )


TRAINERS: dict[str, Callable[..., None]] = {
    "Keras": ours,
    "default fit": default,
    "tf.function loop": loop,
    "setting": setting,
}


def work(trainer: Callable[..., None], weights: Path, epochs: int, *settings: int) -> None:
    """Train one epoch per line on standard input, print its time, and save the weights after the first epoch."""
    import keras_model  # noqa: F401 (sets the default backend)
    from keras_model.startup import use_one_framework

    use_one_framework()
    start_time = 0.0

    def turn(epoch: int, read: Callable[[], Weights]) -> None:
        nonlocal start_time
        if epoch:
            print(f"\nseconds {time.perf_counter() - start_time}", flush=True)
        if epoch == 1:
            np.savez(weights, **read())  # type: ignore[arg-type]
        sys.stdin.readline()
        start_time = time.perf_counter()

    trainer(datasets.load("mnist", HELD_OUT, SEED), epochs, turn, *settings)

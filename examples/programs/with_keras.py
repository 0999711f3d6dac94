"""MNIST in Keras: 784-10-10 with ReLU, gradient descent with batches of 128."""

import keras
from keras import layers

from minigrad.datasets import load

EPOCHS = 10

keras.utils.set_random_seed(42)
data = load("mnist")

model = keras.Sequential(
    [
        keras.Input((28, 28)),
        layers.Rescaling(1 / 255),
        layers.Flatten(),
        layers.Dense(10, activation="relu"),
        layers.Dense(10),
    ]
)
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.1),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(data.train.images, data.train.labels, batch_size=128, epochs=EPOCHS)
_, accuracy = model.evaluate(data.test.images, data.test.labels, verbose=0)
print(f"test accuracy: {accuracy:.4f}")

"""MNIST in minigrad: 784-10-10 with ReLU, gradient descent with batches of 128."""

import numpy as np

from minigrad import nn, no_grad, ops, optim
from minigrad.datasets import Split, load

EPOCHS = 10


def arrays(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, (n, 784) float32 from 0 to 1, and the labels."""
    return split.images.reshape(-1, 784) / np.float32(255), split.labels


rng = np.random.default_rng(42)
data = load("mnist")
images, labels = arrays(data.train)

model = nn.Sequential(nn.Linear(784, 10, rng=rng), nn.ReLU(), nn.Linear(10, 10, rng=rng))
optimizer = optim.SGD(model.parameters(), lr=0.1)

for epoch in range(EPOCHS):
    order = rng.permutation(len(labels))
    for start in range(0, len(order), 128):
        batch = order[start : start + 128]
        loss = ops.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.4f}")

images, labels = arrays(data.test)
with no_grad():
    predicted = model(images).data.argmax(axis=1)
print(f"test accuracy: {(predicted == labels).mean():.4f}")

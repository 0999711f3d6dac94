"""MNIST in PyTorch: 784-10-10 with ReLU, gradient descent with batches of 128."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from minigrad.datasets import Split, load

EPOCHS = 10


def dataset(split: Split) -> TensorDataset:
    """Return the images, (n, 784) from 0 to 1, and the labels."""
    return TensorDataset(torch.from_numpy(split.images).flatten(1) / 255, torch.from_numpy(split.labels))


torch.manual_seed(42)
data = load("mnist")
train = DataLoader(dataset(data.train), batch_size=128, shuffle=True)
test = DataLoader(dataset(data.test), batch_size=1000)

model = nn.Sequential(nn.Linear(784, 10), nn.ReLU(), nn.Linear(10, 10))
loss_function = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for epoch in range(EPOCHS):
    model.train()
    for images, labels in train:
        loss = loss_function(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.4f}")

model.eval()
with torch.no_grad():
    correct = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in test)
print(f"test accuracy: {correct / len(data.test.labels):.4f}")

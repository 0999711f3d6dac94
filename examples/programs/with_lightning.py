"""MNIST in PyTorch Lightning: 784-10-10 with ReLU, gradient descent with batches of 128."""

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from minigrad.datasets import Split, load

EPOCHS = 10


class Classifier(LightningModule):
    """The network with its loss, metric and optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(784, 10), nn.ReLU(), nn.Linear(10, 10))
        self.loss_function = nn.CrossEntropyLoss()
        self.accuracy = MulticlassAccuracy(10, average="micro")

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        loss: Tensor = self.loss_function(self.net(images), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch
        self.accuracy(self.net(images), labels)
        self.log("test_accuracy", self.accuracy)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def dataset(split: Split) -> TensorDataset:
    """Return the images, (n, 784) from 0 to 1, and the labels."""
    return TensorDataset(torch.from_numpy(split.images).flatten(1) / 255, torch.from_numpy(split.labels))


seed_everything(42)
data = load("mnist")
train = DataLoader(dataset(data.train), batch_size=128, shuffle=True)
test = DataLoader(dataset(data.test), batch_size=1000)

model = Classifier()
trainer = Trainer(max_epochs=EPOCHS, logger=False, enable_checkpointing=False)  # writes no files
trainer.fit(model, train)
(metrics,) = trainer.test(model, test, verbose=False)
print(f"test accuracy: {metrics['test_accuracy']:.4f}")

"""`curves.png`: loss and accuracy of one run, epoch by epoch."""

from __future__ import annotations

from pathlib import Path

from .files import whole_file
from .history import Epoch

TRAIN, VALIDATION = "#9a9a9a", "#1f6feb"


def draw(path: Path, history: list[Epoch], title: str) -> None:
    """Draw the history as PNG; imports matplotlib only here, since it is slow to load."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title, fontsize=11)
    epochs = [e.epoch for e in history]
    panels = (("loss (nats)", "train_loss", "val_loss"), ("accuracy", "train_accuracy", "val_accuracy"))
    for axes, (label, train, validation) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.plot(epochs, [getattr(e, train) for e in history], "o-", color=TRAIN, ms=3.5, label="training")
        if history and history[-1].val_loss is not None:
            axes.plot(
                epochs, [getattr(e, validation) for e in history], "o-", color=VALIDATION, ms=3.5, label="validation"
            )
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        if label == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=130)

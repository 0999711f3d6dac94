"""The calibration error of metrics.json is that of torchmetrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_helpers import in_numpy, measured
from torchmetrics.classification import MulticlassCalibrationError

from minigrad.runs.calibration import expected_calibration_error, reliability


def of_torchmetrics(logits: np.ndarray, labels: np.ndarray) -> float:
    metric = MulticlassCalibrationError(logits.shape[1], n_bins=15, norm="l1")
    probabilities = torch.from_numpy(logits).double().softmax(1)
    confidence = probabilities.max(1).values.numpy()
    assert np.abs(confidence * 15 - np.rint(confidence * 15)).min() > 1e-6, "none lies on the edge of a bin"
    return float(metric(probabilities, torch.from_numpy(labels)))


@pytest.mark.parametrize("seed", range(5))
def test_of_random_logits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 1 + seed / 2, (500, 10)).astype(np.float32), rng.integers(0, 10, 500)
    expected = of_torchmetrics(logits, labels)
    assert expected > 0.05
    assert expected_calibration_error(reliability(logits, labels)) == pytest.approx(expected, abs=1e-6)


def test_of_a_run(run: Path) -> None:
    net, data = in_numpy(run)
    logits = net.predict(data.test.images)
    found = measured(run)
    assert found["test_ece"] == pytest.approx(of_torchmetrics(logits, data.test.labels), abs=1e-6)
    assert sum(b["images"] for b in found["test_calibration"]) == len(data.test.labels)

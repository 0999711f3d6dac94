"""Expected calibration error, its bins, and reliability.png."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from PIL import Image

from minigrad.runs import UserError, calibration, metrics
from minigrad.runs.calibration import BINS, Bin, expected_calibration_error, reliability


def random(seed: int, images: int = 300, classes: int = 4, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (images, classes)), rng.integers(0, classes, images)


def of_confidence(confidence: np.ndarray) -> np.ndarray:
    """Return logits of two classes that predict class 0 with the given probabilities, above 0.5."""
    return np.stack([np.log(confidence), np.log1p(-confidence)], axis=1)


def error(logits: np.ndarray, labels: np.ndarray) -> float:
    return expected_calibration_error(reliability(logits, labels))


@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(2, 12), st.floats(0.1, 20))
def test_it_is_the_sum_over_bins_in_a_loop(seed: int, images: int, classes: int, scale: float) -> None:
    logits, labels = random(seed, images, classes, scale)
    probabilities = np.exp(metrics.log_softmax(logits))
    expected, bins = 0.0, reliability(logits, labels)
    for k, b in enumerate(bins):
        inside = [i for i in range(images) if k / BINS < probabilities[i].max() <= (k + 1) / BINS]
        assert (b.lower, b.upper) == pytest.approx((k / BINS, (k + 1) / BINS))
        assert b.images == len(inside)
        if not inside:
            assert (b.confidence, b.accuracy) == (None, None)
            continue
        assert b.confidence == pytest.approx(probabilities[inside].max(axis=1).mean())
        assert b.accuracy == pytest.approx((probabilities[inside].argmax(axis=1) == labels[inside]).mean())
        expected += len(inside) / images * abs(b.accuracy - b.confidence)  # type: ignore[operator]
    assert expected_calibration_error(bins) == pytest.approx(expected)
    assert len(bins) == BINS == 15


@given(st.integers(0, 10_000))
def test_the_order_of_the_images_does_not_matter(seed: int) -> None:
    logits, labels = random(seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    assert error(logits[order], labels[order]) == pytest.approx(error(logits, labels), abs=1e-12)


def test_of_a_calibrated_network_it_is_nearly_0() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.51, 0.99, 200_000)
    labels = (rng.random(200_000) > confidence).astype(int)
    assert error(of_confidence(confidence), labels) < 0.005
    assert error(of_confidence(np.sqrt(confidence)), labels) > 0.05  # overconfident
    assert error(np.eye(3) * 800, np.arange(3)) == 0  # always certain, always right


def test_of_a_network_that_is_always_certain_and_wrong_it_is_1() -> None:
    bins = reliability(np.eye(3) * 800, np.array([1, 2, 0]))
    assert expected_calibration_error(bins) == 1
    assert bins[-1] == Bin(14 / 15, 1.0, 3, 1.0, 0.0)


def test_a_confidence_on_an_edge_belongs_to_the_lower_bin() -> None:
    bins = reliability(np.zeros((4, 3)), np.zeros(4, int))  # the confidence is 1/3
    assert [b.images for b in bins] == [0, 0, 0, 0, 4, *[0] * 10]


def test_logits_are_not_changed() -> None:
    logits, labels = random(3)
    before = logits.copy()
    reliability(logits, labels)
    np.testing.assert_array_equal(logits, before)


# The picture.


def test_it_shows_each_bin_with_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    write = Axes.text

    def keep(self: Axes, x: float, y: float, s: str, **options: Any) -> object:
        texts.append(s.strip())
        return write(self, x, y, s, **options)

    monkeypatch.setattr(Axes, "text", keep)
    bins = reliability(*random(1, 3000))
    calibration.draw(tmp_path / "reliability.png", bins)
    assert texts == [f"{b.images:,}" for b in bins if b.images]
    assert len(texts) > 8
    with Image.open(tmp_path / "reliability.png") as file:
        assert file.format == "PNG"
        assert np.asarray(file.convert("L")).mean() > 150, "its background is light"


def test_the_same_again_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        calibration.draw(tmp_path / name, reliability(np.eye(2), np.arange(2)))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing"):
        calibration.draw(tmp_path / "missing/reliability.png", reliability(np.eye(2), np.arange(2)))

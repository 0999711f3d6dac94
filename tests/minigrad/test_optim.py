"""Optimisers against the recurrences of their papers, written out for one number."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from minigrad import Tensor, optim

GRADIENTS = [0.5, -1.0, 2.0, 0.25, -0.125]
START, LR = 1.5, 0.1


def by_package(make) -> list[float]:
    w = Tensor(np.array([START]), requires_grad=True)
    optimizer, path = make([w]), []
    for g in GRADIENTS:
        w.grad = np.array([g])
        optimizer.step()
        path.append(w.data.item())
    return path


def sgd(momentum: float = 0.0, decay: float = 0.0) -> Iterator[float]:
    w, v = START, 0.0
    for i, g in enumerate(GRADIENTS):
        g = g + decay * w
        v = g if i == 0 else momentum * v + g
        w -= LR * v
        yield w


def adam(decay: float = 0.0, decoupled: bool = False) -> Iterator[float]:
    w, m, v, (b1, b2), eps = START, 0.0, 0.0, (0.8, 0.95), 1e-3
    for t, g in enumerate(GRADIENTS, 1):
        if decoupled:
            w -= LR * decay * w
        else:
            g = g + decay * w
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        w -= LR * (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
        yield w


BETAS = {"betas": (0.8, 0.95), "eps": 1e-3}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: optim.SGD(p, LR), sgd()),
        (lambda p: optim.SGD(p, LR, momentum=0.9), sgd(0.9)),
        (lambda p: optim.SGD(p, LR, weight_decay=0.2), sgd(0, 0.2)),
        (lambda p: optim.SGD(p, LR, momentum=0.9, weight_decay=0.2), sgd(0.9, 0.2)),
        (lambda p: optim.Adam(p, LR, **BETAS), adam()),
        (lambda p: optim.Adam(p, LR, weight_decay=0.2, **BETAS), adam(0.2)),
        (lambda p: optim.AdamW(p, LR, weight_decay=0.2, **BETAS), adam(0.2, decoupled=True)),
    ],
    ids=["sgd", "momentum", "decay", "momentum and decay", "adam", "adam and decay", "adamw"],
)
def test_each_step_is_the_formulas(make, expected: Iterator[float]) -> None:
    np.testing.assert_allclose(by_package(make), list(expected), rtol=1e-13)


def test_adams_defaults_are_torchs() -> None:
    optimizer = optim.Adam([])
    assert (optimizer.lr, optimizer.betas, optimizer.eps, optimizer.weight_decay) == (1e-3, (0.9, 0.999), 1e-8, 0)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_a_parameter_without_a_gradient_stays(kind: type[optim.Optimizer]) -> None:
    still, moved = (Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    optimizer = kind([still, moved], 0.1, weight_decay=0.5)
    moved.grad = np.ones(2)
    optimizer.step()
    np.testing.assert_array_equal(still.data, 1)
    assert (moved.data != 1).all()
    optimizer.zero_grad()
    assert moved.grad is None


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_a_step_keeps_float32_the_array_and_the_gradient(kind: type[optim.Optimizer]) -> None:
    w = Tensor(np.ones(2, np.float32), requires_grad=True)
    array, w.grad = w.data, np.full(2, 0.5, np.float32)
    kind([w], 0.1, weight_decay=0.1).step()
    assert w.data is array
    assert w.data.dtype == np.float32
    np.testing.assert_array_equal(w.grad, 0.5)


@pytest.mark.parametrize(
    "make", [lambda p: optim.SGD(p, LR, momentum=0.9), lambda p: optim.Adam(p, LR)], ids=["sgd", "adam"]
)
def test_a_state_taken_up_goes_on_to_the_last_bit(make) -> None:
    whole = by_package(make)
    w = Tensor(np.array([START]), requires_grad=True)
    optimizer = make([w])
    for i, g in enumerate(GRADIENTS):
        if i == 2:
            state, optimizer = optimizer.state_dict(), make([w])
            optimizer.load_state_dict(state)
        w.grad = np.array([g])
        optimizer.step()
    assert w.data.item() == whole[-1]


def test_a_state_without_an_array_is_refused() -> None:
    w = Tensor(np.ones(2), requires_grad=True)
    state = optim.Adam([w]).state_dict()
    del state["second.0"]
    with pytest.raises(KeyError):
        optim.Adam([w]).load_state_dict(state)


def test_cosine_goes_down_half_a_cosine() -> None:
    optimizer = optim.SGD([], 0.4)
    schedule = optim.CosineAnnealingLR(optimizer, T_max=8)
    rates = []
    for _ in range(8):
        optimizer.step()
        schedule.step()
        rates.append(optimizer.lr)
    np.testing.assert_allclose(rates, [0.2 * (1 + math.cos(math.pi * t / 8)) for t in range(1, 9)], atol=1e-16)
    assert rates[3] == pytest.approx(0.2)
    assert rates[-1] == 0


def test_plateau_waits_for_more_than_patience_epochs() -> None:
    optimizer = optim.SGD([], 1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, factor=0.1, patience=2, threshold=0.01)
    rates = []
    # 0.995 is no fall by 0.01, so three epochs in a row are bad; after a cut, the count starts again.
    for metric in (1.0, 0.995, 1.0, 2.0, 0.9, 0.9, 0.9, 0.8, 0.8, float("nan"), 0.8):
        schedule.step(metric)
        rates.append(optimizer.lr)
    np.testing.assert_allclose(rates, [1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01])


def test_a_small_problem_is_solved() -> None:
    for make in (lambda p: optim.SGD(p, 0.1, 0.5), lambda p: optim.Adam(p, 0.1), lambda p: optim.AdamW(p, 0.1)):
        w = Tensor([5.0, -3.0], requires_grad=True)
        optimizer = make([w])
        for _ in range(300):
            optimizer.zero_grad()
            ((w - [1, 2]) ** 2).sum().backward()
            optimizer.step()
        np.testing.assert_allclose(w.data, [1, 2], atol=1e-2)

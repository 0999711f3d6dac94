"""Optimisers against the recurrences of their papers, written out for one number; and all of it against torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import torch

from minigrad import Tensor, optim

GRADIENTS = [0.5, -1.0, 2.0, 0.25, -0.125]
START, LR = 1.5, 0.1


def some() -> list[Tensor]:
    return [Tensor([1.0], requires_grad=True)]


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


def nesterov(decay: float = 0.0) -> Iterator[float]:
    w, v = START, 0.0
    for g in GRADIENTS:
        g = g + decay * w
        v = 0.9 * v + g
        w -= LR * (g + 0.9 * v)
        yield w


def rmsprop(decay: float = 0.0) -> Iterator[float]:
    w, v = START, 0.0
    for g in GRADIENTS:
        g = g + decay * w
        v = 0.8 * v + 0.2 * g * g
        w -= LR * g / (math.sqrt(v) + 1e-3)
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


# name -> (the optimiser, the path of the number)
FORMULAS: dict[str, tuple[Any, Iterator[float]]] = {
    "sgd": (lambda p: optim.SGD(p, LR), sgd()),
    "momentum": (lambda p: optim.SGD(p, LR, momentum=0.9), sgd(0.9)),
    "decay": (lambda p: optim.SGD(p, LR, weight_decay=0.2), sgd(0, 0.2)),
    "momentum and decay": (lambda p: optim.SGD(p, LR, momentum=0.9, weight_decay=0.2), sgd(0.9, 0.2)),
    "nesterov": (lambda p: optim.SGD(p, LR, momentum=0.9, nesterov=True), nesterov()),
    "nesterov and decay": (lambda p: optim.SGD(p, LR, 0.9, weight_decay=0.2, nesterov=True), nesterov(0.2)),
    "rmsprop": (lambda p: optim.RMSprop(p, LR, alpha=0.8, eps=1e-3), rmsprop()),
    "rmsprop and decay": (lambda p: optim.RMSprop(p, LR, alpha=0.8, eps=1e-3, weight_decay=0.2), rmsprop(0.2)),
    "adam": (lambda p: optim.Adam(p, LR, **BETAS), adam()),
    "adam and decay": (lambda p: optim.Adam(p, LR, weight_decay=0.2, **BETAS), adam(0.2)),
    "adamw": (lambda p: optim.AdamW(p, LR, weight_decay=0.2, **BETAS), adam(0.2, decoupled=True)),
}


@pytest.mark.parametrize(("make", "expected"), FORMULAS.values(), ids=FORMULAS)
def test_each_step_is_the_formulas(make, expected: Iterator[float]) -> None:
    np.testing.assert_allclose(by_package(make), list(expected), rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("RMSprop", ("lr", "alpha", "eps", "weight_decay")),
        ("Adam", ("lr", "betas", "eps", "weight_decay")),
        ("AdamW", ("lr", "betas", "eps")),  # torch's weight decay is 0.01 here
    ],
)
def test_the_defaults_are_torchs(name: str, settings: tuple[str, ...]) -> None:
    ours, theirs = getattr(optim, name)(some()), getattr(torch.optim, name)([torch.zeros(1)]).defaults
    assert {s: getattr(ours, s) for s in settings} == {s: theirs[s] for s in settings}
    assert ours.weight_decay == 0


@pytest.mark.parametrize("kind", [optim.SGD, optim.RMSprop, optim.Adam, optim.AdamW])
def test_a_parameter_without_a_gradient_stays(kind: type[optim.Optimizer]) -> None:
    still, moved = (Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    optimizer = kind([still, moved], 0.1, weight_decay=0.5)
    moved.grad = np.ones(2)
    optimizer.step()
    np.testing.assert_array_equal(still.data, 1)
    assert (moved.data != 1).all()
    optimizer.zero_grad()
    assert moved.grad is None


@pytest.mark.parametrize("kind", [optim.SGD, optim.RMSprop, optim.Adam, optim.AdamW])
def test_a_step_keeps_float32_the_array_and_the_gradient(kind: type[optim.Optimizer]) -> None:
    w = Tensor(np.ones(2, np.float32), requires_grad=True)
    array, w.grad = w.data, np.full(2, 0.5, np.float32)
    kind([w], 0.1, weight_decay=0.1).step()
    assert w.data is array
    assert w.data.dtype == np.float32
    np.testing.assert_array_equal(w.grad, 0.5)


KEPT: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, LR),
    "momentum": lambda p: optim.SGD(p, LR, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, LR, momentum=0.9, weight_decay=0.1, nesterov=True),
    "rmsprop": lambda p: optim.RMSprop(p, LR, alpha=0.9),
    "adam": lambda p: optim.Adam(p, LR),
    "adamw": lambda p: optim.AdamW(p, LR, weight_decay=0.1),
}


@pytest.mark.parametrize("make", KEPT.values(), ids=KEPT)
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


@pytest.mark.parametrize("make", [KEPT[name] for name in KEPT if name != "sgd"], ids=[n for n in KEPT if n != "sgd"])
@pytest.mark.parametrize("shape", [(1,), (1, 3), (2,)])
def test_a_state_of_other_parameters_is_refused(make: Any, shape: tuple[int, ...]) -> None:
    ours, other = (make([Tensor(np.ones(s), requires_grad=True)]) for s in ((2, 3), shape))
    with pytest.raises(ValueError):  # noqa: PT011 (any sentence will do)
        ours.load_state_dict(other.state_dict())


def test_a_state_is_a_copy() -> None:
    w = Tensor(np.ones(2), requires_grad=True)
    optimizer = optim.RMSprop([w])
    state = optimizer.state_dict()
    w.grad = np.ones(2)
    optimizer.step()
    assert (state["steps"], optimizer.state_dict()["steps"]) == (0, 1)
    np.testing.assert_array_equal(state["second.0"], 0)
    assert (optimizer.state_dict()["second.0"] > 0).all()


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValueError, match=r"SGD: nesterov with momentum = 0.0; expected a positive momentum"):
        optim.SGD(some(), 0.1, nesterov=True)


def test_an_optimizer_without_a_formula_says_so() -> None:
    w = Tensor(np.ones(2), requires_grad=True)
    w.grad = np.ones(2)
    with pytest.raises(TypeError, match="Optimizer has no update"):
        optim.Optimizer([w], 0.1).step()


# Step for step as torch does it.

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.9, "eps": 1e-3}),
    ("RMSprop", {"lr": 0.05, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1}),
    ("AdamW", {"weight_decay": 0.0}),
    ("AdamW", {"lr": 0.05, "betas": (0.8, 0.95), "weight_decay": 0.1}),
]
SHAPES = [(3, 2), (4,), ()]


class Both:
    """The same parameters in both, each moved by its own optimiser."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.rng = np.random.default_rng(2)
        arrays = [np.asarray(self.rng.normal(size=shape)) for shape in SHAPES]
        self.parameters = [Tensor(a.copy(), requires_grad=True) for a in arrays]
        self.theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
        self.optimizer = getattr(optim, name)(self.parameters, **options)
        self.torchs = getattr(torch.optim, name)(self.theirs, **options)

    def step(self, absent: tuple[int, ...] = ()) -> None:
        """One step by random gradients; those of the parameters `absent` are missing."""
        for i, (p, t) in enumerate(zip(self.parameters, self.theirs, strict=True)):
            g = np.asarray(self.rng.normal(size=p.shape))
            p.grad, t.grad = (None, None) if i in absent else (g, torch.tensor(g))
        self.optimizer.step()
        self.torchs.step()

    def agree(self) -> None:
        for p, t in zip(self.parameters, self.theirs, strict=True):
            np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=str)
def test_each_step_is_torchs(name: str, options: dict[str, Any]) -> None:
    both = Both(name, options)
    for i in range(20):
        if i == 12:  # the rate is read anew at each step
            both.optimizer.lr = both.torchs.param_groups[0]["lr"] = 0.03
        both.step()
        both.agree()


@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=str)
def test_each_step_is_torchs_where_a_gradient_comes_late_or_is_missing_at_times(
    name: str, options: dict[str, Any]
) -> None:
    both = Both(name, options)
    for i in range(12):
        absent = ((0,) if i < 4 else ()) + ((1,) if i % 3 == 1 else ())
        both.step(absent)
        both.agree()


# Schedules.


def test_cosine_goes_down_half_a_cosine() -> None:
    optimizer = optim.SGD(some(), 0.4)
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
    optimizer = optim.SGD(some(), 1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, factor=0.1, patience=2, threshold=0.01, threshold_mode="abs")
    rates = []
    # 0.995 is no fall by 0.01, so three epochs in a row are bad; after a cut, the count starts again.
    for metric in (1.0, 0.995, 1.0, 2.0, 0.9, 0.9, 0.9, 0.8, 0.8, float("nan"), 0.8):
        schedule.step(metric)
        rates.append(optimizer.lr)
    np.testing.assert_allclose(rates, [1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01])


def test_a_small_problem_is_solved() -> None:
    for make in (
        lambda p: optim.SGD(p, 0.1, 0.5),
        lambda p: optim.SGD(p, 0.05, 0.5, nesterov=True),
        lambda p: optim.Adam(p, 0.1),
        lambda p: optim.AdamW(p, 0.1),
    ):
        w = Tensor([5.0, -3.0], requires_grad=True)
        optimizer = make([w])
        for _ in range(300):
            optimizer.zero_grad()
            ((w - [1, 2]) ** 2).sum().backward()
            optimizer.step()
        np.testing.assert_allclose(w.data, [1, 2], atol=1e-2)


def rate(both: Both) -> float:
    return float(both.torchs.param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("StepLR", {"step_size": 3}),
        ("StepLR", {"step_size": 1, "gamma": 0.9}),
        ("StepLR", {"step_size": 7, "gamma": 1.5}),
        ("CosineAnnealingLR", {"T_max": 13}),
        ("CosineAnnealingLR", {"T_max": 25, "eta_min": 0.02}),
        ("CosineAnnealingLR", {"T_max": 1, "eta_min": 0.3}),
        ("CosineAnnealingLR", {"T_max": 6, "eta_min": 0.5}),
    ],
    ids=str,
)
def test_the_rate_after_each_step_is_torchs(name: str, options: dict[str, Any]) -> None:
    both = Both("SGD", {"lr": 0.2})
    ours = getattr(optim, name)(both.optimizer, **options)
    theirs = getattr(torch.optim.lr_scheduler, name)(both.torchs, **options)
    rates = [both.optimizer.lr]
    for _ in range(25):
        both.step()
        ours.step()
        theirs.step()
        rates.append(both.optimizer.lr)
        assert rates[-1] == pytest.approx(rate(both), rel=1e-10, abs=1e-14)
    assert len(set(rates)) > 1


CYCLES: list[tuple[int, dict[str, Any]]] = [
    (30, {}),
    (30, {"pct_start": 0.5, "div_factor": 10.0, "final_div_factor": 100.0}),
    (20, {"pct_start": 0.12}),
    (20, {"pct_start": 0.0}),
    (20, {"pct_start": 0.85, "base_momentum": 0.7, "max_momentum": 0.9}),
    (7, {"div_factor": 1.0}),
    (4, {}),
    (3, {}),
    (2, {}),
    (1, {}),
]


@pytest.mark.parametrize(("total_steps", "options"), CYCLES, ids=str)
@pytest.mark.parametrize(
    ("name", "settings", "cycle_momentum"),
    [
        ("SGD", {"lr": 0.5, "momentum": 0.4}, True),
        ("SGD", {"lr": 0.5, "momentum": 0.4, "nesterov": True}, True),
        ("SGD", {"lr": 0.5, "momentum": 0.4}, False),
        ("SGD", {"lr": 0.5}, False),
        ("RMSprop", {}, False),
        ("Adam", {"betas": (0.6, 0.95)}, True),
        ("Adam", {"betas": (0.6, 0.95)}, False),
        ("AdamW", {"weight_decay": 0.1}, True),
    ],
    ids=str,
)
def test_one_cycle_moves_rate_and_momentum_as_torchs(
    name: str, settings: dict[str, Any], cycle_momentum: bool, total_steps: int, options: dict[str, Any]
) -> None:
    both = Both(name, settings)
    options = {"max_lr": 0.1, "total_steps": total_steps, "cycle_momentum": cycle_momentum, **options}
    ours = optim.OneCycleLR(both.optimizer, **options)
    theirs = torch.optim.lr_scheduler.OneCycleLR(both.torchs, **options)
    for step in range(total_steps + 1):  # torch allows one step more than there are
        if step:
            both.step()
            both.agree()
            ours.step()
            theirs.step()
        group = both.torchs.param_groups[0]
        assert both.optimizer.lr == pytest.approx(rate(both), rel=1e-12, abs=1e-16), step
        if name == "SGD":
            assert both.optimizer.momentum == pytest.approx(group["momentum"], rel=1e-14)
        elif name != "RMSprop":
            assert both.optimizer.betas == pytest.approx(group["betas"], rel=1e-14)


@pytest.mark.parametrize(("total_steps", "pct_start"), [(4, 0.25), (2, 0.5), (10, 0.1)])
def test_one_cycle_whose_way_up_is_a_single_step_starts_at_the_top(total_steps: int, pct_start: float) -> None:
    # torch divides by zero here.
    optimizer = optim.SGD(some(), 0.1)
    schedule = optim.OneCycleLR(optimizer, 0.4, total_steps, pct_start, cycle_momentum=False)
    rates = [optimizer.lr]
    for _ in range(total_steps - 1):
        optimizer.step()
        schedule.step()
        rates.append(optimizer.lr)
    assert rates[0] == 0.4
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.4 / 25 / 1e4)


@pytest.mark.parametrize(("make", "name"), [(optim.SGD, "SGD"), (optim.RMSprop, "RMSprop")])
def test_one_cycle_of_a_momentum_that_is_not_there_is_refused(make: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"OneCycleLR: {name} has no momentum; expected cycle_momentum=False"):
        optim.OneCycleLR(make(some(), lr=0.1), 0.1, 10)


def metric_paths() -> dict[str, list[float]]:
    rng = np.random.default_rng(8)
    falling = [1 / (1 + t) + 0.02 * float(rng.normal()) for t in range(40)]
    return {
        "falling": falling,
        "below 0": [m - 0.5 for m in falling],  # where a part of the best is the other way
        "near": [1.0, 0.9999, 0.99985, 0.9, 0.9, 0.9, 0.89992, 0.8, 0.8, 0.8, 0.8, 0.8],
        "no number": [math.nan, 1.0, math.nan, math.nan, math.nan, 0.5, math.inf, 0.4, 0.4, 0.4, 0.4],
        "still": [1.0] * 25,
    }


@pytest.mark.parametrize("path", metric_paths())
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 2},
        {"patience": 0, "factor": 0.5},
        {"patience": 1, "factor": 0.3, "min_lr": 0.01},
        {"patience": 1, "threshold": 0.05},
        {"patience": 1, "threshold": 0.05, "threshold_mode": "rel"},
        {"patience": 1, "threshold": 0.05, "threshold_mode": "abs"},
        {"patience": 2, "threshold_mode": "abs", "factor": 0.5},
    ],
    ids=str,
)
def test_the_rate_after_each_look_at_the_metric_is_torchs(path: str, options: dict[str, Any]) -> None:
    both = Both("SGD", {"lr": 10.0})
    ours = optim.ReduceLROnPlateau(both.optimizer, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(both.torchs, **options)
    for metric in metric_paths()[path]:
        ours.step(metric)
        theirs.step(metric)
        if rate(both) > 1e-6:  # torch moves smaller ones no more
            assert both.optimizer.lr == pytest.approx(rate(both), rel=1e-12)


def test_a_plateau_does_not_raise_a_rate_below_the_least() -> None:
    both = Both("SGD", {"lr": 0.01})
    options: dict[str, Any] = {"patience": 0, "min_lr": 0.1}
    ours = optim.ReduceLROnPlateau(both.optimizer, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(both.torchs, **options)
    for _ in range(3):
        ours.step(1.0)
        theirs.step(1.0)
        assert both.optimizer.lr == rate(both) == 0.01


# Clipping.

# None is a parameter that has no gradient.
GRADIENT_SETS: dict[str, list[Any]] = {
    "several": [[3.0, -4.0], [[0.5, 2.0], [-1.5, 0.0]], 0.25],
    "one is missing": [[3.0, -4.0], None, [12.0]],
    "zeros": [[0.0, 0.0], [0.0]],
    "zeros beside numbers": [[0.0, 0.0], [7.0]],
    "none at all": [None, None],
    "no parameters": [],
    "tiny": [[1e-9, -1e-8], [1e-7]],
    "infinity": [[math.inf, 1.0], [2.0]],
    "beyond float64": [[1.2e154], [1.2e154], [1.2e154]],
}


def clippable(gradients: list[Any]) -> tuple[list[Tensor], list[torch.Tensor]]:
    ours, theirs = [], []
    for g in gradients:
        array = np.array([1.0] if g is None else g)
        ours.append(Tensor(array, requires_grad=True))
        theirs.append(torch.tensor(array, requires_grad=True))
        if g is not None:
            ours[-1].grad, theirs[-1].grad = array.copy(), torch.tensor(array)
    return ours, theirs


def same_gradients(ours: list[Tensor], theirs: list[torch.Tensor]) -> None:
    for p, t in zip(ours, theirs, strict=True):
        assert (p.grad is None) == (t.grad is None)
        if p.grad is not None and t.grad is not None:
            np.testing.assert_allclose(p.grad, t.grad.numpy(), rtol=1e-13)


@pytest.mark.parametrize("gradients", GRADIENT_SETS.values(), ids=GRADIENT_SETS)
@pytest.mark.parametrize("max_norm", [0.0, 1e-8, 1.0, 5.0, 1e3])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_norm_is_clipped_as_torch_clips_it(gradients: list[Any], max_norm: float) -> None:
    ours, theirs = clippable(gradients)
    buffers = [p.grad for p in ours]
    norm = optim.clip_grad_norm_(iter(ours), max_norm)
    assert type(norm) is float
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm)), rel=1e-13)
    same_gradients(ours, theirs)
    assert all(p.grad is b for p, b in zip(ours, buffers, strict=True))


def test_a_gradient_that_is_no_number_shows_in_the_norm() -> None:
    ours, theirs = clippable([[math.nan, 1.0], [2.0]])
    assert math.isnan(optim.clip_grad_norm_(ours, 1.0))
    assert math.isnan(torch.nn.utils.clip_grad_norm_(theirs, 1.0))


@pytest.mark.parametrize("gradients", GRADIENT_SETS.values(), ids=GRADIENT_SETS)
@pytest.mark.parametrize("value", [0.0, 0.5, 3.5, 100.0])
def test_values_are_clipped_as_torch_clips_them(gradients: list[Any], value: float) -> None:
    ours, theirs = clippable(gradients)
    optim.clip_grad_value_(iter(ours), value)
    if any(t.grad is not None for t in theirs):  # torch stumbles over nothing to clip
        torch.nn.utils.clip_grad_value_(theirs, value)
    same_gradients(ours, theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_backward_left_can_be_clipped_and_keeps_its_dtype(dtype: type) -> None:
    a, b = (Tensor(np.full((2, 3), 2, dtype), requires_grad=True) for _ in range(2))
    (a + b).sum().backward()
    assert optim.clip_grad_norm_([a, b], 1.0) == pytest.approx(math.sqrt(12))
    for p in (a, b):
        assert p.grad.dtype == dtype
        np.testing.assert_allclose(p.grad, 1 / math.sqrt(12), rtol=1e-5)
    optim.clip_grad_value_([a, b], 0.125)
    np.testing.assert_array_equal(b.grad, 0.125)

"""Schedules compared with torch's over many settings, and resumed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minigrad_helpers import torch

from minigrad import Tensor, optim

RATES = st.floats(1e-3, 10)
SCHEDULES: dict[str, Any] = {
    "StepLR": st.fixed_dictionaries({"step_size": st.integers(1, 9), "gamma": st.floats(0.05, 1.5)}),
    "CosineAnnealingLR": st.fixed_dictionaries({"T_max": st.integers(1, 20), "eta_min": st.floats(0, 0.5)}),
    "OneCycleLR": st.fixed_dictionaries(
        {
            "max_lr": RATES,
            "total_steps": st.integers(25, 60),
            # torch divides by zero if the peak is at the first or after the last step.
            "pct_start": st.floats(0.05, 0.95).filter(lambda p: all(abs(p * t - 1) > 1e-6 for t in range(25, 61))),
            "base_momentum": st.floats(0, 0.9),
            "max_momentum": st.floats(0, 0.99),
            "div_factor": st.floats(1, 50),
            "final_div_factor": st.floats(1, 1e4),
        }
    ),
}


def ours(lrs: list[float]) -> optim.SGD:
    return optim.SGD([{"params": Tensor([1.0], requires_grad=True), "lr": lr} for lr in lrs], 1.0, 0.9)


def rates(optimizer: Any) -> list[tuple[float, float]]:
    return [(group["lr"], group["momentum"]) for group in optimizer.param_groups]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore:Detected call of")
def test_rates_are_torchs(name: str) -> None:
    @settings(max_examples=25, deadline=None)
    @given(SCHEDULES[name], st.lists(RATES, min_size=1, max_size=3))
    def check(options: dict[str, Any], lrs: list[float]) -> None:
        optimizer = ours(lrs)
        theirs = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": lr} for lr in lrs], 1.0, 0.9)
        schedule = getattr(optim, name)(optimizer, **options)
        reference = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
        for _ in range(options.get("total_steps", 45)):
            optimizer.step()
            schedule.step()
            reference.step()
            for pair, expected in zip(rates(optimizer), rates(theirs), strict=True):
                assert pair == pytest.approx(expected, rel=1e-12, abs=1e-12)

    check()


MAKE: dict[str, Callable[[Any], Any]] = {
    "StepLR": lambda o: optim.StepLR(o, 3),
    "CosineAnnealingLR": lambda o: optim.CosineAnnealingLR(o, 10, 0.01),
    "OneCycleLR": lambda o: optim.OneCycleLR(o, [1.0, 2.0], 10),
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@pytest.mark.parametrize("order", ["schedule after state", "state after schedule", "state without settings"])
def test_a_resumed_schedule_equals_an_uninterrupted_one(make: Callable[[Any], Any], order: str) -> None:
    def run(optimizer: Any, schedule: Any, steps: int) -> list[Any]:
        path = []
        for _ in range(steps):
            path.append(rates(optimizer))
            optimizer.step()
            schedule.step()
        return path

    whole = ours([1.0, 0.5])
    expected = run(whole, make(whole), 10)
    first = ours([1.0, 0.5])
    run(first, make(first), 4)
    state, resumed = first.state_dict(), ours([1.0, 0.5])
    if order == "state after schedule":
        schedule = make(resumed)
        resumed.load_state_dict(state)
    else:
        if order == "state without settings":  # as earlier versions wrote it
            state = {name: a for name, a in state.items() if name == "steps" or name.startswith("velocity")}
        resumed.load_state_dict(state)
        schedule = make(resumed)
    assert run(resumed, schedule, 6) == expected[4:]


def test_cosine_continues_at_its_step() -> None:
    optimizer = ours([1.0])
    optimizer.load_state_dict({**optimizer.state_dict(), "steps": 4})
    optim.CosineAnnealingLR(optimizer, 10)
    assert optimizer.lr == pytest.approx((1 + math.cos(0.4 * math.pi)) / 2)


@pytest.mark.parametrize("second", [lambda o: optim.StepLR(o, 2), optim.ReduceLROnPlateau, MAKE["CosineAnnealingLR"]])
@pytest.mark.parametrize("first", [lambda o: optim.StepLR(o, 2), optim.ReduceLROnPlateau])
def test_an_optimizer_has_one_schedule(first: Any, second: Any) -> None:
    optimizer = ours([1.0])
    name = type(first(optimizer)).__name__
    with pytest.raises(ValueError, match=f"the optimizer has the schedule {name}; expected one schedule per optimizer"):
        second(optimizer)


def test_one_cycle_ends_after_its_steps() -> None:
    optimizer = ours([1.0])
    schedule = optim.OneCycleLR(optimizer, 0.5, 3, pct_start=1.0)
    for _ in range(3):  # torch also allows one step more than needed
        optimizer.step()
        schedule.step()
    assert optimizer.lr == pytest.approx(0.5 / 25 / 1e4)
    optimizer.step()
    with pytest.raises(ValueError, match="OneCycleLR: step 4; expected at most total_steps = 3"):
        schedule.step()


def test_a_plateau_reduces_the_rate_of_each_group_to_its_least() -> None:
    optimizer = ours([1.0, 0.5])
    schedule = optim.ReduceLROnPlateau(optimizer, 0.1, patience=0, min_lr=[0.0, 0.2])
    schedule.step(Tensor([1.0]))
    schedule.step(1.0)
    assert [lr for lr, _ in rates(optimizer)] == [0.1, 0.2]


def test_a_group_that_is_added_follows_the_schedule() -> None:
    optimizer = ours([1.0])
    schedule = optim.StepLR(optimizer, 1, 0.5)
    optimizer.step()
    schedule.step()
    optimizer.add_param_group({"params": Tensor([1.0], requires_grad=True), "lr": 0.8})
    optimizer.step()
    schedule.step()
    assert [lr for lr, _ in rates(optimizer)] == [0.25, 0.2]

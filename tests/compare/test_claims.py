"""Common claims, compared with intervals of ratios and accuracies."""

from __future__ import annotations

from typing import Any

import pytest

from compare.results import claims

TORCH, TENSORFLOW, ACCURACIES, GPU = range(4)
PRODUCTS = {"step_us": 10.0, "gflops": 211.4, "library": "oneMKL 2024.2", "kernel": "AVX-512", "threads": 2}


def ratio(a: str, b: str, low: float | None, median: float, high: float | None, **keys: Any) -> dict[str, Any]:
    """The step time of `a` divided by that of `b`."""
    row = {"division": "closed", "a": a, "b": b, "paired": True, "rounds": 27, "verdict": "slower"}
    return row | {"low": low, "median": median, "high": high} | keys


def contender(name: str, accuracy: float = 0.926, margin: float = 0.005, **keys: Any) -> dict[str, Any]:
    interval = [accuracy - margin, accuracy + margin]
    title = name.replace("_", " ")
    return {
        "name": name,
        "title": title,
        "step_us": 100,
        "test_accuracy": accuracy,
        "accuracy_interval": interval,
    } | keys


def results(ratios: list[dict], *rows: dict[str, Any], **keys: Any) -> Any:
    names = dict.fromkeys(name for row in ratios for name in (row["a"], row["b"]))
    return {
        "status": "measured",
        "status_reason": "",
        "recipe": {"data": {"path": "mnist"}},
        "environment": {"cpu": "AMD EPYC", "threads": 2, "gpu": "NVIDIA H100"},
        "contenders": list(rows) or [contender(name) for name in names],
        "ratios": ratios,
    } | keys


def judged(number: int, given: Any) -> dict[str, str]:
    claim = claims.check_claims(given)[number]
    assert claim["source"]
    assert claim["judged_by"]
    return claim  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([ratio("by_hand", "torch", 3.2, 4, 4.8)], "holds"),
        ([ratio("torch", "by_hand", 1 / 4.8, 1 / 4, 1 / 3.2)], "holds"),  # the same in the other order
        ([ratio("by_hand", "torch", 2.8, 4, 4.8)], "undecided"),
        ([ratio("by_hand", "torch", 3.2, 4, 5.1)], "undecided"),
        ([ratio("by_hand", "torch", 2.0, 2.5, 2.9)], "does not hold"),
        ([ratio("by_hand", "torch", 5.1, 6, 7)], "does not hold"),
        ([ratio("torch", "by_hand", 2.0, 2.1, 2.2)], "does not hold"),
        ([ratio("by_hand", "torch", None, 4, None)], "undecided"),
        ([ratio("by_hand", "torch", 3.2, 4, 4.8, rounds=14)], "undecided"),
        ([ratio("by_hand", "torch", 3.2, 4, 4.8), ratio("minigrad", "torch", 3.2, 4, 4.8)], "holds"),
        ([ratio("by_hand", "torch", 3.2, 4, 4.8), ratio("minigrad", "torch", 4.8, 5, 5.2)], "undecided"),
        ([ratio("by_hand", "torch", 2, 2, 2), ratio("torch", "minigrad", 0.25, 0.25, 0.25)], "does not hold"),
        ([ratio("by_hand", "torch", 3.2, 4, 4.8, division="open")], "not measured"),
        ([ratio("by_hand", "minigrad", 3.2, 4, 4.8)], "not measured"),
        ([], "not measured"),
    ],
)
def test_a_claim_on_speed_is_judged_by_the_interval_of_the_ratio(ratios: list[dict], verdict: str) -> None:
    assert judged(TORCH, results(ratios))["verdict"] == verdict


def test_the_sentence_names_the_machine_and_the_ratio() -> None:
    rows = contender("torch", products=PRODUCTS), contender("by_hand")
    claim = judged(TORCH, results([ratio("torch", "by_hand", 2.0, 2.1, 2.2)], *rows))
    assert claim["why"] == (
        "Not on this machine: AMD EPYC, 2 threads, torch with oneMKL 2024.2 at 211 GFLOP/s:"
        " torch takes 2.1 (2.0 to 2.2) times as long as by hand."
    )
    claim = judged(TORCH, results([ratio("torch", "by_hand", 0.98, 1.04, 1.1)]))
    assert "torch takes 1.04 (0.98 to 1.10) times as long as by hand." in claim["why"]
    claim = judged(TORCH, results([ratio("torch", "by_hand", 0.2, 0.25, 0.3)]))
    assert claim["why"].startswith("On this machine: AMD EPYC, 2 threads: by hand takes 4.0 (3.3 to 5.0) times as long")


def test_nothing_is_judged_by_times_that_were_not_measured() -> None:
    pairs = [ratio("by_hand", "torch", 3.2, 4, 4.8), ratio("torch", "torch_gpu", 2, 3, 4)]
    given = results(pairs, status="not measured", status_reason="The machine was busy.")
    for number in (TORCH, TENSORFLOW, GPU):
        claim = judged(number, given)
        assert (claim["verdict"], claim["why"]) == ("not measured", "The machine was busy.")


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        ({10: 2.0, 100: 0.3, 1000: 0.3}, "at least 3 times faster than by hand from width 100 on."),
        ({10: 0.3, 100: 0.4, 1000: 0.3}, "at least 3 times faster than by hand from width 1,000 on."),
        ({10: 0.3, 100: 0.3, 1000: 0.4}, "not 3 times faster than by hand at the largest width, 1,000."),
    ],
)
def test_a_speed_up_in_the_sweep_holds_at_all_larger_widths(times: dict[int, float], sentence: str) -> None:
    points = [
        {"width": width, "batch_size": size, "ratio": {"median": 0.2 if size == 32 else r, "low": r, "high": r}}
        for size in (128, 32)
        for width, r in times.items()
    ]
    rows = [{"contender": "by_hand", "points": []}, {"contender": "torch", "points": points}]
    sweep = {"rows": rows, "batch_sizes": [128, 32], "champion": "by_hand", "disturbed": False}
    pairs = [ratio("by_hand", "torch", 2, 2, 2)]
    why = judged(TORCH, results(pairs, sweep=sweep))["why"]
    assert why.endswith(f" In the width sweep, with batches of 128, torch is {sentence}")
    assert "sweep" not in judged(TORCH, results(pairs, sweep=sweep | {"disturbed": True}))["why"]
    assert "sweep" not in judged(TORCH, results(pairs, sweep=None))["why"]


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ({"minigrad": 0.88, "torch": 0.91, "keras": 0.92502}, "holds"),  # up to 93.00 % as it is written
        ({"minigrad": 0.88, "torch": 0.91}, "holds"),
        ({"minigrad": 0.88, "torch": 0.918, "keras": 0.9245}, "undecided"),
        ({"minigrad": 0.926, "torch": 0.918, "keras": 0.9245}, "does not hold"),
        ({"minigrad": 0.88}, "not measured"),
        ({"minigrad": 0.88, "by_hand": 0.91}, "not measured"),
    ],
)
def test_the_claim_on_accuracies_is_judged_by_their_intervals(accuracies: dict[str, float], verdict: str) -> None:
    rows = [contender(name, accuracy) for name, accuracy in accuracies.items()]
    claim = judged(ACCURACIES, results([], *rows))
    assert claim["verdict"] == verdict
    assert "same training" not in claim["why"]
    if verdict != "not measured":
        assert "minigrad 88.00 % (87.50 to 88.50)" in claim["why"] or accuracies["minigrad"] != 0.88


@pytest.mark.parametrize(("low", "differ"), [(-0.001, False), (0.001, True)])
def test_equal_accuracies_are_named_after_the_paired_test(low: float, differ: bool) -> None:
    differences = [{"a": "torch", "b": "keras", "low": low, "high": 0.002}]
    claim = judged(ACCURACIES, results([], contender("torch"), contender("keras"), accuracy_differences=differences))
    assert claim["verdict"] == "does not hold"
    assert ("no two of these accuracies differ significantly" in claim["why"]) is not differ


def test_the_claim_on_accuracies_is_about_mnist() -> None:
    rows = [contender("minigrad", 0.88), contender("torch", 0.91)]
    claim = judged(ACCURACIES, results([], *rows, recipe={"data": {"path": "letters.npz"}}))
    assert claim["verdict"] == "not measured"
    assert "letters.npz" in claim["why"]


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([ratio("torch", "torch_gpu", 2, 3, 4)], "holds"),
        ([ratio("torch_gpu", "torch", 2, 3, 4)], "does not hold"),
        ([ratio("torch", "torch_gpu", 2, 3, 4), ratio("jax", "jax_gpu", 9, 10, 11)], "undecided"),
        ([ratio("torch", "torch_gpu", 11, 12, 13), ratio("jax_gpu", "jax", 2, 2, 2)], "does not hold"),
        ([ratio("torch", "jax_gpu", 2, 3, 4)], "not measured"),
    ],
)
def test_the_claim_on_gpus_is_judged_by_the_largest_speed_up(ratios: list[dict], verdict: str) -> None:
    claim = judged(GPU, results(ratios))
    assert claim["verdict"] == verdict
    assert ("NVIDIA H100" in claim["why"]) is (verdict != "not measured")

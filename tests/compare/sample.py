"""A complete results.json with plausible numbers, its data set and its networks, so that reports need no training."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from compare import contenders
from compare.results import schema, typed
from compare.results.schema import Results
from minigrad import recipes
from minigrad.classifier import Classifier
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe

STEP_US = {"minigrad": 121.0, "by_hand": 113.0, "torch": 237.0, "lightning": 554.0, "keras": 328.0}
FLOOR_US = {"minigrad": 55.0, "by_hand": 30.0, "torch": 150.0, "lightning": 430.0, "keras": 230.0}
STARTUP = {"minigrad": 0.26, "by_hand": 0.25, "torch": 2.1, "lightning": 3.4, "keras": 4.0}
GFLOPS = {"minigrad": 350.0, "by_hand": 350.0, "torch": 205.0, "lightning": 205.0, "keras": 190.0}
LIBRARY = {"torch": "oneMKL 2024.2", "lightning": "oneMKL 2024.2", "keras": "Eigen and oneDNN 3.8"}
CHANGES = {
    "default": {"torch": "DataLoader with shuffle", "lightning": "DataLoader, progress bar and checkpoints"},
    "open": {"lightning": "Trainer(barebones=True)", "keras": "arrays shuffled by fit, 100 steps per execution"},
}
WIDTHS, BATCH_SIZE = (10, 100, 1000), 128
STEPS, EPOCHS, IMAGES, CLASSES = 64, 4, 40, 10


def recipe() -> Recipe:
    """The recipe of the results."""
    return recipes.load("simple")


def data() -> Dataset:
    """Noise, with labels in turn."""
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 28, 28)).astype(np.uint8)
    split = Split(images, np.arange(IMAGES) % CLASSES)
    return Dataset(split, split, split, CLASSES)


def networks() -> dict[str, dict[str, np.ndarray]]:
    """The same random weights for each contender."""
    weights = Classifier(recipe().model, (28, 28), CLASSES).state_dict()
    return dict.fromkeys(STEP_US, weights)


def results(names: tuple[str, ...] = tuple(STEP_US), seeds: int = 3) -> Results:
    """Return results of all divisions and the sweep.

    Args:
        names: the contenders.
        seeds: number of seeds.
    """
    rng = np.random.default_rng(0)
    filled: dict[str, Any] = {
        "schema": schema.SCHEMA,
        "status": "measured",
        "status_reason": "",
        "command": "python -m compare --seeds 3",
        "recipe": recipe().as_dict(),
        "plan": {
            "contenders": list(names),
            "seeds": [42 + i for i in range(seeds)],
            "divisions": list(schema.DIVISIONS),
            "points": [[width, BATCH_SIZE] for width in WIDTHS],
            "target": None,
        },
        "data": {"train": 55000, "validation": 5000, "test": 10000, "input_shape": [28, 28], "classes": CLASSES,
                 "class_names": [], "digest": "13ded9d18d6bd37c"},
        "environment": environment(),
        "finished": "2026-01-31T12:00:00+00:00",
        "parity": parity(names, rng),
        "contenders": [contender(name, "closed", seeds, rng) for name in names],
        "default": [contender(name, "default", seeds, rng) for name in names],
        "open": [contender(name, "open", seeds, rng) for name in names],
        "rounds": rounds(names, seeds, rng),
        "ratios": [ratio(d, a, b) for d in schema.DIVISIONS for a, b in combinations(names, 2)],
        "work": {"updates": 4300, "samples": 550000, "flops_per_sample": 31960, "flops": 17578000000,
                 "parameters": 7960},
        "target": 0.92,
        "answers": {"agree": 9999, "images": 10000} if len(names) > 1 else None,
        "accuracy_differences": [
            {"a": a, "b": b, "difference": 0.0, "low": -0.0001, "high": 0.0001, "only_a": 1, "only_b": 1}
            for a, b in combinations(names, 2)
        ],
        "sweep": sweep(names),
        "digits": {
            "disputed": 1,
            "disagree": [digit(3, {name: 5 if name == "keras" else 3 for name in names})],
            "hardest": [digit(i, dict.fromkeys(names, 7)) for i in range(12)],
        },
        "claims": [
            {"claim": "PyTorch is 3 to 5 times faster than NumPy.", "source": "A common blog post", "verdict": "does not hold",
             "judged_by": "the steady step time", "why": "torch takes 2.1 times as long as by hand."}
        ],
    }  # fmt: skip
    typed.check(filled, Results)
    return filled  # type: ignore[return-value]


def environment() -> dict[str, Any]:
    """A machine without a GPU."""
    return {
        "python": "3.11.7",
        "versions": {"python": "3.11.7", "numpy": "2.4.6", "torch": "2.13.0+cpu", "jax": None},
        "cpu": "A processor",
        "cores": 2,
        "threads": 2,
        "load": 0.02,
        "gpu": None,
        "allocator": {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "268435456"},
        "variables": {},
        "waiting": {},
        "memory_gb": 23.5,
        "blas": ["openblas 0.3.31"],
        "system": "Linux 6.18 x86_64",
        "host": "host",
        "commit": None,
    }


def parity(names: tuple[str, ...], rng: np.random.Generator) -> dict[str, Any]:
    """All contenders agree."""
    steps = range(1, STEPS + 1)
    rows = {}
    for name in names[1:]:
        row: dict[str, Any] = {"dropout": {"passed": None, "said": "off"}, "apart": False}
        for dtype, size, limit in (("float64", 4e-16, 1e-12), ("float32", 3e-7, 1e-4)):
            by_step = {str(step): float(size * rng.uniform(0.1, 1) * step**0.3) for step in steps}
            share = {step: gap / limit * 3 for step, gap in by_step.items()}
            row[dtype] = {
                "passed": True, "steps": STEPS, "max_abs_diff": max(by_step.values()), "limit": limit, "by_step": by_step,
                "share": max(share.values()), "share_by_step": share, "first": None,
            }  # fmt: skip
        rows[name] = row
    summary = {
        dtype: {
            "passed": True,
            "steps": STEPS,
            "max_abs_diff": max((row[dtype]["max_abs_diff"] for row in rows.values()), default=None),
            "limit": limit if rows else None,
        }
        for dtype, limit in (("float64", 1e-12), ("float32", 1e-4))
    }
    rounding = {"max_abs_diff": 4.8e-7, "by_step": {str(step): 2e-7 for step in steps}}
    passed = True if rows else None
    return {"reference": names[0], "passed": passed, **summary, "rounding": rounding, "contenders": rows}


def contender(name: str, division: str, seeds: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return a contender's measurements in a division."""
    runs = [run(name, division, 42 + i, rng) for i in range(seeds)]
    first, kind = runs[0], contenders.find(name)
    measurements = {
        key: first[key]
        for key in ("version", "parameters", "updates", "samples", "test_accuracy", "test_loss", "test_images", "seconds",
                    "step_us", "steady_us", "peak_memory_mb", "seconds_to_target")
    }  # fmt: skip
    measurements |= {
        "steady_step_us": step_us(name, division),
        "accuracy_interval": [0.9208, 0.9311],
        "images_per_second": BATCH_SIZE / step_us(name, division) * 1e6,
        "runs": runs,
    }
    if division != "closed":
        changes = CHANGES[division].get(name, "")
        return {"name": name, "title": kind.title, "division": division, "changes": changes, **measurements}
    measurements |= {key: first[key] for key in ("latency", "saved_bytes", "products")}
    row = {"name": name, "title": kind.title, "trains_by": kind.trains_by, "lines_of_code": 34, "division": division}
    return {**row, "status": "ok", "equal_work": True, **measurements}


def run(name: str, division: str, seed: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return one training."""
    steady, startup, steps = step_us(name, division), STARTUP[name], 430 * EPOCHS
    epochs = [float(steady * rng.uniform(0.97, 1.06)) for _ in range(EPOCHS)]
    train = steps * steady / 1e6
    filled: dict[str, Any] = {
        "seed": seed, "version": "1.2.3", "parameters": 7960, "updates": 4300, "samples": 550000,
        "test_accuracy": 0.9261, "test_loss": 0.2551, "test_correct": 9261, "test_images": 10000,
        "seconds": {"import": startup * 0.7, "build": startup * 0.2, "first_step": startup * 0.1, "startup": startup,
                    "train": train, "evaluate": 0.01, "total": startup + train},
        "step_us": steady * 1.05, "steady_step_us": steady, "epoch_us": epochs,
        "steady_us": {"p50": steady, "p90": steady * 1.1, "p99": steady * 1.4, "steps_a_look": 1.0},
        "peak_memory_mb": 100 + 250 * startup,
        "curve": [{"seconds": train * (i + 1) / EPOCHS, "accuracy": 0.9 + 0.008 * i} for i in range(EPOCHS)],
        "seconds_to_target": train * float(rng.uniform(0.7, 1)),
    }  # fmt: skip
    if division == "closed":
        one = 12 + 60 * startup
        filled["latency"] = {
            n: {"p50": one * k, "p99": one * k * 1.6} for n, k in (("1", 1), ("100", 2), ("10000", 60))
        }
        filled |= {"saved_bytes": 32000, "products": products(name, 10)}
    return filled


def products(name: str, width: int) -> dict[str, Any]:
    """Return the matrix products of a step."""
    speed = GFLOPS[name] * width / (width + 20)
    kernel = {"minigrad": "SkylakeX", "by_hand": "SkylakeX", "torch": "AVX2", "lightning": "AVX2"}.get(name)
    library = LIBRARY.get(name, "OpenBLAS 0.3.31")
    return {"step_us": flops(width) / speed / 1e3, "gflops": speed, "library": library, "kernel": kernel,
            "threads": None if name == "keras" else 2}  # fmt: skip


def flops(width: int) -> int:
    """Return the floating-point operations of a step."""
    return 409088 * width


def step_us(name: str, division: str) -> float:
    """Return the steady time of a step in a division."""
    factor = 0.6 if division == "open" and name in CHANGES["open"] else 1.5 if name in CHANGES.get(division, {}) else 1
    return STEP_US[name] * factor


def ratio(division: str, a: str, b: str) -> dict[str, Any]:
    """Return the ratio of two contenders; minigrad and by hand are undecided."""
    return {
        "division": division,
        "a": a,
        "b": b,
        "paired": True,
        **interval(step_us(a, division) / step_us(b, division)),
    }


def interval(median: float) -> dict[str, Any]:
    """Return an interval of ±4 % with its verdict."""
    low, high = median * 0.96, median * 1.04
    verdict = (
        "slower" if low > 1.05 else "faster" if high < 0.95 else "equivalent" if 0.95 < low < high < 1.05 else None
    )
    return {"median": median, "low": low, "high": high, "verdict": verdict or "undecided", "rounds": 12}


def rounds(names: tuple[str, ...], seeds: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return four rounds per seed in the closed division, of which the last one was disturbed."""
    rows = [
        {"stage": "closed", "seed": 42 + seed, "point": None, "started": f"2026-01-31T12:00:{4 * seed + i:02d}+00:00",
         "others": 0.01,
            "waiting": 0.0, "steal": 0.0, "disturbed": False,
         "step_us": {name: float(STEP_US[name] * rng.normal(1.01, 0.015)) for name in names}}
        for seed in range(seeds) for i in range(4)
    ]  # fmt: skip
    rows[-1] |= {"others": 0.4, "disturbed": True, "step_us": {name: STEP_US[name] * 1.4 for name in names}}
    return rows


def sweep(names: tuple[str, ...]) -> dict[str, Any]:
    """Return a sweep in which torch is faster than NumPy at the largest width."""
    champion = next((name for name in ("by_hand", "minigrad") if name in names), None)
    times = {
        name: {
            width: FLOOR_US[name] + STEP_US["by_hand"] / 4 + products(name, width)["step_us"]
            + (2.0 if name in ("minigrad", "by_hand") else 0.4) * width
            for width in WIDTHS
        }
        for name in names
    }  # fmt: skip
    rows = [
        {
            "contender": name,
            "floor_us": FLOOR_US[name],
            "points": [
                {"width": width, "batch_size": BATCH_SIZE, "step_us": us, "steps": 430, "flops": flops(width),
                 "products": products(name, width)}
                | ({"ratio": interval(us / times[champion][width])} if champion not in (None, name) else {})
                for width, us in times[name].items()
            ],
        }
        for name in names
    ]  # fmt: skip
    crossovers = {name: 1000 if name in ("torch", "lightning", "keras") else None for name in names if name != champion}
    return {"rows": rows, "batch_sizes": [BATCH_SIZE], "champion": champion,
            "crossovers": {str(BATCH_SIZE): crossovers}, "disturbed": False}  # fmt: skip


def digit(index: int, answers: dict[str, int]) -> dict[str, Any]:
    """Return a test image with its predictions."""
    return {"index": index, "label": index % CLASSES, "answers": answers}

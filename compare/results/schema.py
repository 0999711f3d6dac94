"""The structure of `results.json`, as typed dictionaries.

The keys are those of the file. Keys marked `NotRequired` are missing from a
comparison that was stopped, whose parity check failed, or that an earlier
version wrote.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict, TypeGuard

from minigrad.runs import UserError, expand, folder, foreign
from minigrad.runs.foreign import parsing

from . import typed

Dtype = Literal["float64", "float32"]
DTYPES: tuple[Dtype, Dtype] = ("float64", "float32")
Phase = Literal["import", "build", "first_step", "train", "evaluate", "total"]
PHASES: tuple[Phase, ...] = ("import", "build", "first_step", "train", "evaluate", "total")

# Seconds per phase. `train` includes `first_step`; `total` is the sum of import, build, train and evaluate.
Seconds = TypedDict(
    "Seconds",
    {"import": float, "build": float, "first_step": float, "train": float, "evaluate": float, "total": float},
)


class Percentiles(TypedDict):
    """Latency in microseconds: the median and the 99th percentile."""

    p50: float
    p99: float


class SteadyStep(TypedDict):
    """Percentiles of one step in microseconds, without the first measurements.

    `steps_a_look` is the largest number of steps between two measurements.
    """

    p50: float
    p90: float
    p99: float
    steps_a_look: float


class CurvePoint(TypedDict):
    """Validation accuracy at the end of an epoch, and the seconds of training until then."""

    seconds: float
    accuracy: float


class Run(TypedDict):
    """One training of one contender with one seed. The last four keys exist in the closed division only."""

    seed: int
    version: str
    parameters: int
    updates: int
    samples: int
    test_accuracy: float
    test_loss: float
    test_correct: int
    test_images: int
    seconds: Seconds
    step_us: float
    steady_us: SteadyStep
    images_per_second: float
    peak_memory_mb: float
    curve: list[CurvePoint]
    precision: NotRequired[str]
    seconds_to_target: NotRequired[float | None]
    latency: NotRequired[dict[str, Percentiles]]
    saved_bytes: NotRequired[int]


class Measurements(TypedDict):
    """Medians over a contender's runs, and the runs."""

    version: str
    parameters: int
    updates: int
    samples: int
    test_accuracy: float
    test_loss: float
    test_images: int
    accuracy_interval: list[float]
    seconds: Seconds
    step_us: float
    steady_us: SteadyStep
    images_per_second: float
    peak_memory_mb: float
    seconds_to_target: float | None
    runs: list[Run]
    saved_bytes: NotRequired[float]
    latency: NotRequired[dict[str, Percentiles]]


class Contender(TypedDict):
    """A requested contender. `status` is "ok", a sentence that gives the reason for missing measurements, or None."""

    name: str
    title: str
    trains_by: str
    lines_of_code: NotRequired[int]
    division: str
    status: str | None


class MeasuredContender(Contender, Measurements):
    """A contender that was timed in the closed division. `equal_work`: whether it did the required work."""

    equal_work: bool


class OpenContender(Measurements):
    """A contender that was timed in the open division. `open_by` describes its changes there."""

    name: str
    title: str
    division: str
    open_by: str


class Divergence(TypedDict):
    """The first value beyond the limit; see `parity.divergence.Divergence`."""

    step: int
    tensor: str
    operation: str
    gap: float | None
    found: str
    expected: str
    explanation: str | None
    sentence: str


class Rounding(TypedDict):
    """Difference between minigrad's float32 and float64 runs: the largest, and the largest per step."""

    max_abs_diff: float | None
    by_step: dict[Any, float | None]  # the keys are int, or str once read from JSON


class ParityCell(Rounding):
    """One contender compared with minigrad in one dtype. `first` and `divergence` describe the first divergence."""

    passed: bool
    steps: int
    limit: float
    first: str | None
    divergence: NotRequired[Divergence | None]


class DropoutCheck(TypedDict):
    """Comparison with dropout. `passed` is None where nothing was compared; `said` is the result in words."""

    passed: bool | None
    said: str


class ParityRow(TypedDict):
    """One contender compared with minigrad. If `apart`, it does not count for the verdict."""

    float64: ParityCell
    float32: ParityCell
    dropout: NotRequired[DropoutCheck]
    apart: NotRequired[bool]


class ParitySummary(TypedDict):
    """The largest difference of all contenders that count, in one dtype."""

    passed: bool
    steps: int
    max_abs_diff: float | None
    limit: float | None


class Parity(TypedDict):
    """The parity stage. `passed` is None if there was no contender to compare with the reference."""

    reference: str
    passed: bool | None
    float64: ParitySummary
    float32: ParitySummary
    rounding: NotRequired[Rounding | None]
    contenders: dict[str, ParityRow]


class ParityStage(TypedDict):
    """The file jobs/parity.json. `names`: the contenders that were compared."""

    names: list[str]
    parity: Parity


class Work(TypedDict):
    """The work that each contender has to do."""

    updates: int
    samples: int
    flops_per_sample: int
    flops: int
    parameters: int


class SweepPoint(TypedDict):
    """The time of a step at one hidden width and batch size."""

    width: int
    batch_size: int
    step_us: float
    steps: int
    flops: int


class SweepAnswer(TypedDict):
    """The answer of one contender's sweep. `flops_per_second`: of a matrix product, if it was measured."""

    points: list[SweepPoint]
    floor_us: float
    flops_per_second: NotRequired[float]


class SweepRow(TypedDict):
    """One contender's sweep. `floor_us`: a step at width 1 with the smallest batch, which is overhead alone."""

    contender: str
    points: list[SweepPoint]
    floor_us: float


class Sweep(TypedDict):
    """The width sweep.

    `champion` is the NumPy contender that the others are compared with.
    `crossovers` gives, per batch size and contender, the smallest width from
    which on it is faster than the champion, or None.
    """

    rows: list[SweepRow]
    flops_per_second: float | None
    batch_sizes: list[int]
    champion: str | None
    crossovers: dict[str, dict[str, int | None]]


class Ratio(TypedDict):
    """A ratio of step times with its 95 % interval. `differs` is None if there is only one seed."""

    ratio: float
    low: float | None
    high: float | None
    differs: bool | None


class Difference(TypedDict):
    """A difference of accuracies with its 95 % interval. `differs` is None for one seed, unless they are equal."""

    difference: float
    low: float | None
    high: float | None
    differs: bool | None


class Pair(TypedDict):
    """Two contenders compared, paired by seed."""

    a: str
    b: str
    seeds: list[int]
    step_us: Ratio
    test_accuracy: Difference


class Digit(TypedDict):
    """A test image, its label, and each contender's prediction."""

    index: int
    label: int
    answers: dict[str, int]


class Digits(TypedDict):
    """The number of test images that the contenders predict differently, some of them, and those with the largest loss."""

    disputed: int
    disagree: list[Digit]
    hardest: list[Digit]


class Claim(TypedDict):
    """A common claim, the verdict on it, and the measurements behind the verdict."""

    claim: str
    verdict: str
    why: str


class PlanSettings(TypedDict):
    """The plan of the comparison, other than the recipe."""

    contenders: list[str]
    seeds: list[int]
    open_seeds: list[int]
    points: list[list[int]]
    target: float | None
    engine: NotRequired[str]


class DataInfo(TypedDict):
    """Sizes of the data set, the names of its classes (empty without names), and a digest of its content."""

    train: int
    validation: int
    test: int
    input_shape: list[int]
    classes: int
    class_names: NotRequired[list[str]]
    digest: str


class Environment(TypedDict):
    """The machine and software of the measurements; see `results.environment.describe`."""

    python: str
    versions: dict[str, str | None]
    cpu: str
    cores: int
    threads: int
    load: float
    gpu: str | None
    allocator: dict[str, str]
    variables: dict[str, str]
    memory_gb: float
    blas: list[str]
    system: str
    others_share: NotRequired[float | None]


class Results(TypedDict):
    """All of `results.json`."""

    recipe: dict[str, Any]
    plan: PlanSettings
    data: DataInfo
    environment: Environment
    finished: str | None
    parity: Parity | None
    contenders: list[Contender | MeasuredContender]
    work: NotRequired[Work]
    target: NotRequired[float | None]
    open: NotRequired[list[OpenContender]]
    pairs: NotRequired[list[Pair]]
    sweep: NotRequired[Sweep | None]
    digits: NotRequired[Digits]
    claims: NotRequired[list[Claim]]


# Keys that results of earlier versions may lack.
EARLIER = frozenset({"plan", "data", "runs", *Environment.__annotations__})


def is_measured(contender: Contender | MeasuredContender) -> TypeGuard[MeasuredContender]:
    """Return whether a contender was timed."""
    return "step_us" in contender


def measured(results: Results) -> list[MeasuredContender]:
    """Return the contenders that were timed in the closed division."""
    return [row for row in results["contenders"] if is_measured(row)]


def titles(results: Results) -> dict[str, str]:
    """Return each contender's title by its name."""
    return {row["name"]: row["title"] for row in results["contenders"]}


def agreed(results: Results) -> bool:
    """Return whether the parity stage has ended, and has not failed."""
    return results["parity"] is not None and results["parity"]["passed"] is not False


def read(path: str) -> Results:
    """Read the results of a comparison.

    Args:
        path: a run folder, or its `results.json`. Files of earlier versions are
            accepted; they may lack keys marked `NotRequired`.

    Raises:
        UserError: there is no such file, or it holds no results of a comparison.
    """
    location = expand(path)
    with parsing(path, f"its {folder.RESULTS}", "no results of python -m compare"):
        file = location / folder.RESULTS if location.is_dir() else location
        if not file.exists():
            raise UserError(f"{path}: no {folder.RESULTS}; expected a run folder of python -m compare")
        content = typed.escaped(foreign.read_json(file))
        typed.check(content, Results, optional=EARLIER)
        for row in content["contenders"]:
            if is_measured(row):
                _check_row(row)
    return content  # type: ignore[no-any-return]


def _check_row(row: MeasuredContender) -> None:
    """Check the numbers of a contender that a type does not describe."""
    for times in [row, *row.get("runs", [])]:
        foreign.number("step_us", times["step_us"], 1e-6, 1e15)  # type: ignore[typeddict-item]
    if "runs" in row and not row["runs"]:
        raise foreign.Invalid("runs is empty")
    if len(row["accuracy_interval"]) != 2:
        raise foreign.Invalid("accuracy_interval does not have two limits")

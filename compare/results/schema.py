"""The structure of `results.json`, as typed dictionaries.

The keys are those of the file. Keys marked `NotRequired` are missing from a
comparison that was stopped, or whose parity check failed. Times named `..._us`
are in microseconds, all others in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict, TypeGuard

from minigrad.runs import UserError, expand, folder, foreign
from minigrad.runs.foreign import parsing

from . import typed

Dtype = Literal["float64", "float32"]
DTYPES: tuple[Dtype, Dtype] = ("float64", "float32")
TIME = (1e-6, 1e15)  # limits of a time of a step in microseconds
MOST_ROUNDS = 200_000
SCHEMA = 1  # changes whenever a key changes its meaning or is removed
Division = Literal["closed", "default", "open"]
DIVISIONS: tuple[Division, ...] = ("closed", "default", "open")
Verdict = Literal["faster", "slower", "equivalent", "undecided"]
Phase = Literal["import", "build", "first_step", "startup", "train", "evaluate", "total"]
PHASES: tuple[Phase, ...] = ("import", "build", "first_step", "startup", "train", "evaluate", "total")

# Seconds per phase. `startup` is the time from the start of the process to the end of the first step, and that of later
# compilations: import, build, and the first epoch less its other steps at the steady step time. `train` is the training of
# the recipe's epochs, including the first step. `total` is the sum of import, build, train and evaluate.
Seconds = TypedDict(
    "Seconds",
    {
        "import": float,
        "build": float,
        "first_step": float,
        "startup": float,
        "train": float,
        "evaluate": float,
        "total": float,
    },
)


class Interval(TypedDict):
    """The ratio of two step times: its median over rounds, and the 95 % interval (None for fewer than two rounds).

    "faster" means that the first of the two is faster. With fewer than `statistics.ROUNDS` rounds, and if the rounds were
    disturbed by other processes, the verdict is "undecided".
    """

    median: float
    low: float | None
    high: float | None
    verdict: Verdict
    rounds: int


class Ratio(Interval):
    """The ratio of the steady step time of contender `a` to that of `b` in one division.

    `paired`: whether the two took turns on the same machine; otherwise the ratio is that of the medians.
    """

    division: Division
    a: str
    b: str
    paired: bool


class Round(TypedDict):
    """One round: each contender trained one epoch, one after another.

    Attributes:
        stage: a division, or "sweep".
        seed: the seed of the training.
        point: width and batch size in the sweep, else None.
        started: UTC, ISO 8601.
        others: CPU share of other processes, 0 to 1, on the processors that the contenders may use.
        waiting: CPU seconds that the contenders used while they waited; a part of `others`.
        steal: share of CPU time that the hypervisor took, 0 to 1.
        disturbed: whether `others` or `steal` is too large; the round then does not count.
        step_us: time of a step in microseconds, by contender: that of the epoch divided by its steps. In the sweep, what
            happens once per epoch is divided by the number of steps of an epoch of the recipe.
    """

    stage: str
    seed: int
    point: list[int] | None
    started: str
    others: float
    waiting: float
    steal: float
    disturbed: bool
    step_us: dict[str, float]


class GroupRounds(TypedDict):
    """The file rounds-SEED.json: all rounds of one stage with one seed, and the contenders that took part to the end."""

    names: list[str]
    rounds: list[Round]


class Products(TypedDict):
    """The matrix products of one step, measured in the contender's process with its own library.

    Attributes:
        step_us: time of all products of a step.
        gflops: their speed in 10^9 floating-point operations per second.
        library: the BLAS or compiler with its version.
        kernel: the kernel or instruction set that it selected; None if it does not report it.
        threads: its number of threads; None if it does not report it.
    """

    step_us: float
    gflops: float
    library: str
    kernel: str | None
    threads: int | None


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
    """One training of one contender with one seed. `epoch_us` has the time of a step in each epoch.

    `steady_step_us` is the median of `epoch_us` without the first epoch. `devices` is the number of processes that train
    together, with one thread each, if there are several. `latency`, `saved_bytes` and `products` exist in the closed
    division only.
    """

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
    steady_step_us: float
    epoch_us: list[float]
    steady_us: SteadyStep
    peak_memory_mb: float
    curve: list[CurvePoint]
    precision: NotRequired[str]
    devices: NotRequired[int]
    seconds_to_target: NotRequired[float | None]
    latency: NotRequired[dict[str, Percentiles]]
    saved_bytes: NotRequired[int]
    products: NotRequired[Products]


class Measurements(TypedDict):
    """Medians over a contender's runs, and the runs.

    `step_us` is the time of the whole training divided by the number of updates; it includes what the framework sets up
    and compiles. `steady_step_us` is the median over the rounds that count. `images_per_second` follows from it.
    """

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
    steady_step_us: float
    steady_us: SteadyStep
    images_per_second: float
    peak_memory_mb: float
    seconds_to_target: float | None
    runs: list[Run]
    saved_bytes: NotRequired[float]
    latency: NotRequired[dict[str, Percentiles]]
    products: NotRequired[Products]


class Contender(TypedDict):
    """A requested contender.

    `status` is "ok", a sentence that gives the reason for missing measurements, or None. `lines_of_code` counts those of
    the program that a user writes for recipe `simple`; None if there is no such program.
    """

    name: str
    title: str
    trains_by: str
    lines_of_code: int | None
    division: str
    status: str | None


class MeasuredContender(Contender, Measurements):
    """A contender that was timed in the closed division. `equal_work`: whether it did the required work."""

    equal_work: bool


class DivisionContender(Measurements):
    """A contender that was timed in another division. `changes`: what it does differently there; empty if nothing."""

    name: str
    title: str
    division: str
    changes: str


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
    """One contender compared with minigrad in one dtype. `first` and `divergence` describe the first divergence.

    Each tensor has its own tolerance. `share` is the largest difference of a tensor divided by its tolerance (None if it
    is not a number), `share_by_step` the same per step, and `limit` the tolerance of the tensor with the largest share.
    """

    passed: bool
    steps: int
    limit: float
    share: float | None
    share_by_step: dict[Any, float | None]
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
    rounding: Rounding | None
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


class SweepAnswerPoint(TypedDict):
    """One contender at one hidden width and batch size: the time of a step in each epoch, the first included."""

    width: int
    batch_size: int
    steps: int
    flops: int
    products: Products
    epoch_us: list[float]


class SweepAnswer(TypedDict):
    """The answer of one contender's sweep. The last point has width 1 and the smallest batch size: overhead alone."""

    points: list[SweepAnswerPoint]


class SweepPoint(TypedDict):
    """The time of a step at one hidden width and batch size.

    Attributes:
        step_us: median over the rounds that count.
        steps: number of steps per round.
        flops: floating-point operations of a step.
        products: the matrix products of a step, as in `Products`.
        ratio: the step time divided by the champion's; absent for the champion.
    """

    width: int
    batch_size: int
    step_us: float
    steps: int
    flops: int
    products: Products
    ratio: NotRequired[Interval]


class SweepRow(TypedDict):
    """One contender's sweep. `floor_us`: a step at width 1 with the smallest batch, which is overhead alone."""

    contender: str
    points: list[SweepPoint]
    floor_us: float


class Sweep(TypedDict):
    """The width sweep.

    `champion` is the NumPy contender that the others are compared with.
    `crossovers` gives, per batch size and contender, the smallest width from
    which on it is faster than the champion at all larger widths, or None.
    `disturbed`: whether too many of its rounds were disturbed.
    """

    rows: list[SweepRow]
    batch_sizes: list[int]
    champion: str | None
    crossovers: dict[str, dict[str, int | None]]
    disturbed: bool


class AccuracyDifference(TypedDict):
    """The test accuracy of contender `a` less that of `b`, on the same images, with its 95 % interval.

    `only_a` and `only_b` count the predictions that only one of them got right, over all seeds.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    only_a: int
    only_b: int


class Answers(TypedDict):
    """On how many of the `images` test images all contenders predicted the same class, with every seed."""

    agree: int
    images: int


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
    """A common claim, where it is made, the time or accuracy it is judged by, the verdict, and the measurements."""

    claim: str
    source: str
    judged_by: str
    verdict: str
    why: str


class PlanSettings(TypedDict):
    """The plan of the comparison, other than the recipe."""

    contenders: list[str]
    seeds: list[int]
    divisions: list[Division]
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
    waiting: dict[str, str]
    variables: dict[str, str]
    memory_gb: float
    blas: list[str]
    system: str
    host: str
    commit: str | None


class Results(TypedDict):
    """All of `results.json`.

    Attributes:
        schema: `SCHEMA`.
        status: "not measured" if nothing was timed, or other processes disturbed too many rounds.
        status_reason: a sentence; empty if measured.
        command: the command line, or the call.
        ratios: each pair of contenders once per division.
        rounds: all rounds in the order in which they ran; empty on Ray.
    """

    schema: int
    status: Literal["measured", "not measured"]
    status_reason: str
    command: str
    recipe: dict[str, Any]
    plan: PlanSettings
    data: DataInfo
    environment: Environment
    finished: str | None
    parity: Parity | None
    contenders: list[Contender | MeasuredContender]
    ratios: list[Ratio]
    rounds: list[Round]
    work: Work
    target: NotRequired[float | None]
    default: NotRequired[list[DivisionContender]]
    open: NotRequired[list[DivisionContender]]
    answers: NotRequired[Answers | None]
    accuracy_differences: NotRequired[list[AccuracyDifference]]
    sweep: NotRequired[Sweep | None]
    digits: NotRequired[Digits]
    claims: NotRequired[list[Claim]]


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
        path: a run folder, or its `results.json`.

    Raises:
        UserError: there is no such file, it holds no results of a comparison, or it has another schema.
    """
    location = expand(path)
    with parsing(path, f"a {folder.RESULTS} of schema {SCHEMA}", "no results of python -m compare"):
        file = location / folder.RESULTS if location.is_dir() else location
        if not file.exists():
            raise UserError(f"{path}: no {folder.RESULTS}; expected a run folder of python -m compare")
        content = typed.escaped(foreign.read_json(file))
        if isinstance(content, dict) and content.get("schema") != SCHEMA:
            raise foreign.Invalid(f"its schema is {foreign.shown(content.get('schema'), 40)}")
        typed.check(content, Results)
        for row in content["contenders"]:
            if is_measured(row):
                _check_row(row)
        check_rounds(content["rounds"])
    return content  # type: ignore[no-any-return]


def _check_row(row: MeasuredContender) -> None:
    """Check the numbers of a contender that a type does not describe."""
    for key in ("step_us", "steady_step_us"):
        foreign.number(key, row[key], *TIME)  # type: ignore[literal-required]
    if not row["runs"]:
        raise foreign.Invalid("runs is empty")
    for run in row["runs"]:
        check_run(run)
    check_sizes([len(run["epoch_us"]) for run in row["runs"]])
    if len(row["accuracy_interval"]) != 2:
        raise foreign.Invalid("accuracy_interval does not have two limits")


def check_run(run: Run) -> None:
    """Check the numbers of a run that a type does not describe."""
    for key in ("step_us", "steady_step_us"):
        foreign.number(key, run[key], *TIME)  # type: ignore[literal-required]
    for us in run["epoch_us"]:
        foreign.number("epoch_us", us, *TIME)
    for key in ("updates", "samples", "parameters", "test_images"):
        foreign.whole_number(key, run[key], 1, 2**53)  # type: ignore[literal-required]
    foreign.whole_number("devices", run.get("devices", 1), 1, 2**16)
    foreign.whole_number("test_correct", run["test_correct"], 0, run["test_images"])
    foreign.number("test_accuracy", run["test_accuracy"], 0, 1)
    if not all(count.isdecimal() for count in run.get("latency", {})):
        raise foreign.Invalid("a key of latency is not a number of images")


def check_rounds(rounds: Sequence[Round]) -> None:
    """Check the numbers of rounds that a type does not describe."""
    for us in (us for r in rounds for us in r["step_us"].values()):
        foreign.number("step_us", us, *TIME)
    for stage in {r["stage"] for r in rounds}:
        check_sizes(list(Counter(r["seed"] for r in rounds if r["stage"] == stage).values()))


def check_sizes(rounds: Sequence[int]) -> None:
    """Check that the rounds per seed can be resampled in a few seconds.

    Args:
        rounds: number of rounds of each seed.
    """
    if len(rounds) * max(rounds, default=0) > MOST_ROUNDS:
        raise foreign.Invalid(f"more than {MOST_ROUNDS:,} rounds in all seeds")

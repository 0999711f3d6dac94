"""The result of a comparison of two models, as typed classes; `diff.json` has the same keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Stage = Literal["structure", "weights", "forward", "backward", "steps"]
STAGES: tuple[Stage, ...] = ("structure", "weights", "forward", "backward", "steps")
Verdict = Literal["equal", "different", "skipped"]


@dataclass(frozen=True)
class Difference:
    """One tensor that was compared.

    Attributes:
        stage: the stage in which it was compared.
        tensor: what it is: "output", "loss", "gradient of weight", "weight", "running_var after step 2".
        left, right: the names of the layers; "" for the loss.
        dtype: "float64" or "float32".
        mode: "eval" or "train".
        gap: the largest absolute difference; None if a value is not a number, or the shapes differ.
        tolerance: the largest allowed difference.
        detail: the values where the difference is largest, or the shapes, in words; "" if equal.
    """

    stage: Stage
    tensor: str
    left: str
    right: str
    dtype: str
    mode: str
    gap: float | None
    tolerance: float
    detail: str = ""

    @property
    def equal(self) -> bool:
        return self.gap is not None and self.gap <= self.tolerance

    @property
    def share(self) -> float:
        """The difference relative to the tolerance; inf if it is not a number."""
        if self.gap is None:
            return float("inf")
        return self.gap / self.tolerance if self.tolerance else (0.0 if self.gap == 0 else float("inf"))


@dataclass(frozen=True)
class Explanation:
    """A mistake that reproduces the numbers.

    Attributes:
        left, right: the names of the layers.
        mistake: its short name, such as "batch norm epsilon".
        sentence: what differs, and the change that makes both equal.
        map: the entry of a map that makes both equal, in YAML; "" if the map is not the remedy.
    """

    left: str
    right: str
    mistake: str
    sentence: str
    map: str = ""


@dataclass(frozen=True)
class StageResult:
    """The verdict of one stage, in one sentence, with notes on conventions that differ by design."""

    stage: Stage
    verdict: Verdict
    sentence: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerPair:
    """Two layers that belong together, or one without a partner (the other name is None).

    Attributes:
        left, right: the names.
        kind: the kind of the left layer, or of the right one.
        partner: for a layer without a partner, the name of the one that it probably corresponds to, and why not.
        rows: the shape (c, h, w) of images that are flattened before this linear layer, if the two sides flatten them in
            another order, so that the columns of the weight are permuted; see `translation`.
    """

    left: str | None
    right: str | None
    kind: str
    partner: str = ""
    rows: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class DiffResult:
    """The comparison of two models.

    Attributes:
        left, right: the two sides as they were requested.
        equal: whether all stages that ran are equal.
        stages: the verdict of each stage.
        layers: the map, in the order of the left model.
        differences: every tensor that was compared.
        explanations: the mistakes that reproduce the differences; the first belongs to `first`.
        map: the map as YAML, as `--map` accepts it.
        request: the other options, for the report.
        weights_file: the file with the copied weights, or None.
        seconds: the time that it took.
        peak_mb: the peak memory of the processes of both sides in MB.
    """

    left: str
    right: str
    equal: bool
    stages: tuple[StageResult, ...]
    layers: tuple[LayerPair, ...]
    differences: tuple[Difference, ...]
    explanations: tuple[Explanation, ...]
    map: str
    request: dict[str, Any] = field(default_factory=dict)
    weights_file: str | None = None
    seconds: float = 0.0
    peak_mb: float = 0.0

    @property
    def stage(self) -> Stage | None:
        """The first stage that is different; None if all are equal."""
        return next((s.stage for s in self.stages if s.verdict == "different"), None)

    @property
    def first(self) -> Difference | None:
        """The first tensor that differs, in the order of computation."""
        return next((d for d in self.differences if not d.equal), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of diff.json."""
        first = self.first
        layers = [
            {
                **asdict(pair),
                "differences": [
                    {**asdict(d), "equal": d.equal}
                    for d in self.differences
                    if (d.left, d.right) == (pair.left, pair.right)
                ],
            }
            for pair in self.layers
        ]
        return {
            "schema": 1,
            "left": self.left,
            "right": self.right,
            "equal": self.equal,
            "stage": self.stage,
            "first": None if first is None else {"left": first.left, "right": first.right},
            "explanation": self.explanations[0].sentence if self.explanations else None,
            "explanations": [asdict(e) for e in self.explanations],
            "stages": [asdict(s) for s in self.stages],
            "layers": layers,
            "others": [{**asdict(d), "equal": d.equal} for d in self.differences if not d.left],
            "map": self.map,
            "request": self.request,
            "weights_file": self.weights_file,
            "seconds": self.seconds,
            "peak_mb": self.peak_mb,
        }

"""Mistakes in front of the first layer, and in functions between two layers that are no layers themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np

from ..case import Case
from ..result import Explanation
from .candidate import Candidate, first_explanation, is_left, left, right
from .flatten import flattened, flattened_input
from .forward import FUNCTIONS, LAYERS
from .layers import active_dropout, applied_function

TIMES = ("not at all", "once", "twice")
POOLS = [(kind, size, stride) for kind in ("max_pool", "avg_pool") for size, stride in ((2, 2), (3, 2), (3, 3))]


def layer_input(case: Case) -> Explanation | None:
    """Explain the input of a layer that differs although all layers before it are equal."""
    return first_explanation(
        case, (swapped_channels, scaled, transposed, flattened_input, active_dropout, functions_between, normalized)
    )


def model_output(case: Case) -> Explanation | None:
    """Explain the output of the model that differs although all layers are equal."""
    return first_explanation(case, (applied_function, functions_between))


def swapped_channels(case: Case) -> Iterator[Candidate]:
    """The channels are in reverse order, BGR instead of RGB."""
    if case.expected.ndim == 4 and case.expected.shape[1] == 3:
        yield Candidate(
            "channels swapped",
            f"{right(case)} receives the channels of {left(case)} in reverse order, BGR instead of RGB",
            "Reverse the channels on one side.",
            case.expected[:, ::-1],
        )


def scaled(case: Case) -> Iterator[Candidate]:
    """The input is divided by 255 twice, or not at all."""
    for divisions in (1, -1, 2, -2):
        yield Candidate(
            *_scaling(case, divisions),
            f"Divide by 255 exactly once, in the data or in the model: {_remedy(case)}.",
            case.expected / 255.0**divisions,
        )


def _scaling(case: Case, divisions: int) -> tuple[str, str]:
    """Return the name and the description of a right input that is divided by 255 `divisions` times more often."""
    first = next((k for k in range(3) if case.before is not None and is_left(case, case.before / 255.0**k)), None)
    if first is None or not 0 <= first + divisions <= 2:
        factor = f"1/255{'²' if divisions == 2 else ''}" if divisions > 0 else f"255{'²' if divisions == -2 else ''}"
        return "input scaling", f"The input of {right(case)} is {factor} times that of {left(case)}"
    second = first + divisions
    name = "input scaled twice" if 2 in (first, second) else "input not scaled"
    return name, f"The right model divides its input by 255 {TIMES[second]} and the left model {TIMES[first]}"


def _remedy(case: Case) -> str:
    keras, torch = "a `Rescaling(1 / 255)` layer in Keras", "`x / 255` in PyTorch"
    return torch if {case.left_framework, case.right_framework} == {"torch"} else f"{keras}, {torch}"


def transposed(case: Case) -> Iterator[Candidate]:
    """The axes of the images are in another order, or their buffer is read in another layout."""
    x, shape = case.expected, case.actual.shape
    if x.ndim != 4 or len(shape) != 4:
        return
    for axes in permutations((1, 2, 3)):
        if axes != (1, 2, 3) and x.transpose(0, *axes).shape == shape:
            is_swap = axes == (1, 3, 2)
            yield Candidate(
                "swapped height and width" if is_swap else "input not transposed",
                f"The input of {right(case)} is that of {left(case)} with the axes in the order {(0, *axes)}",
                f"Transpose the images of {right(case)} back: {_transpose(case)}.",
                x.transpose(0, *axes),
            )
    n, c, h, w = shape
    for value in (np.moveaxis(x, 1, -1).reshape(shape), np.moveaxis(x.reshape(n, h, w, c), -1, 1)):
        yield Candidate(
            "input not transposed",
            f"The input of {right(case)} is that of {left(case)} reshaped to the other layout instead of transposed",
            f"Transpose the images instead of reshaping them: {_transpose(case)}.",
            value,
        )


def _transpose(case: Case) -> str:
    if case.right_framework == "keras":
        return "`images.transpose(0, 2, 3, 1)` from (n, c, h, w) to (n, h, w, c)"
    return "`x.permute(0, 3, 1, 2)` from (n, h, w, c) to (n, c, h, w)"


def normalized(case: Case) -> Iterator[Candidate]:
    """The input has another scale and offset, for all channels or per channel. They follow from the numbers."""
    x, y = case.expected, case.actual
    if x.shape != y.shape or x.ndim < 2 or x.size < 16:
        return
    for order, words in ((slice(None), ""), (slice(None, None, -1), " with the channels in reverse order")):
        source = x[:, order] if x.ndim == 4 else x
        for axes in (None, (0, *range(2, x.ndim))):
            if axes is not None and x.size < 8 * x.shape[1]:
                continue
            scale, offset = _line(source, y, axes)
            yield Candidate(
                "input normalization",
                f"The input of {right(case)} is that of {left(case)}{words} times {_list(scale)} plus {_list(offset)}",
                "Normalize the input in the same way on both sides.",
                source * scale + offset,
            )


def _line(x: np.ndarray, y: np.ndarray, axes: tuple[int, ...] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and offset of the line through y(x), by least squares."""
    centered = x - x.mean(axes, keepdims=True)
    scale = (centered * y).sum(axes, keepdims=True) / (centered * centered).sum(axes, keepdims=True)
    return scale, y.mean(axes, keepdims=True) - scale * x.mean(axes, keepdims=True)


def _list(values: np.ndarray) -> str:
    numbers = [f"{value:.4g}" for value in values.ravel()]
    return numbers[0] if len(numbers) == 1 else f"({', '.join(numbers[:4])}{', ...' if len(numbers) > 4 else ''})"


def functions_between(case: Case) -> Iterator[Candidate]:
    """Functions after the layer before, such as `F.relu` and `F.max_pool2d`: those of both sides are searched for."""
    if case.before is None:
        return
    chains = list(_chains(case.before, case.expected, case.actual))
    for steps, value in chains:
        if not is_left(case, value):
            continue
        for other_steps, other_value in sorted(chains, key=lambda chain: _distance(chain[0], steps)):
            differences = [(a, b) for a, b in zip(steps, other_steps, strict=True) if a != b]
            where = "in front of it" if case.tensor == "input" else "at its end"
            yield Candidate(
                "gelu approximation"
                if differences == [("gelu", "gelu_tanh")] or differences == [("gelu_tanh", "gelu")]
                else "activation"
                if steps[0] != other_steps[0]
                else "pooling",
                f"{right(case)} has {_join(other_steps)} {where} where {left(case)} has {_join(steps)}",
                f"Use {_join([a for a, _ in differences])} on the right.",
                other_value,
            )


def _chains(x: np.ndarray, *targets: np.ndarray) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Yield the names and the result of activation, pooling and flattening, for results with the shape of a target."""
    shapes = [target.shape for target in targets]
    for name, function in FUNCTIONS.items():
        active = np.asarray(function(x, {}))
        for pool, pooled in _pooled(active):
            for order, result in [
                ("", pooled),
                ("", flattened(pooled, False)),
                ("channels last", flattened(pooled, True)),
            ]:
                if result.shape in shapes:
                    yield (name, pool, order), result


def _pooled(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield "", x
    if x.ndim == 4:
        for kind, size, stride in POOLS:
            if min(x.shape[2:]) >= size:
                config = {"kernel_size": size, "stride": stride}
                yield f"{kind}({size}, stride {stride})", LAYERS[kind](config, {}, x)


def _distance(steps: tuple[str, ...], others: tuple[str, ...]) -> int:
    return sum(a != b for a, b in zip(steps, others, strict=True))


def _join(steps: Sequence[str]) -> str:
    names = [f"`{step}`" for step in steps if step and step != "linear"]
    return " and ".join(names) or "no function"

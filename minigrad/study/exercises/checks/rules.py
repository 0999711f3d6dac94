"""How a rule is checked: its value, and its pullbacks by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ....gradcheck import numerical_gradient
from ....tensor import Tensor
from ..outcome import Wrong
from .core import Case, Mistake, Outputs, Part
from .values import brief, show

Rule = Callable[..., tuple[Any, ...]]
NO_TUPLE = "Return a tuple: `return value, lambda g: ...`"


def call_rule(name: str, pullbacks: tuple[str, ...], module: Any, g: Any, **operands: Any) -> Outputs:
    """Call a rule and its pullbacks.

    Args:
        name: the rule.
        pullbacks: the operands that have a pullback.
        module: the module with the rule.
        g: the gradient of the value.
        operands: the arguments of the rule.
    """
    result = getattr(module, name)(*operands.values())
    call = f"{name}({', '.join(operands)})"
    if not isinstance(result, tuple) or len(result) != 1 + len(pullbacks):
        kind = f"a tuple of {len(result)}" if isinstance(result, tuple) else brief(result)
        parts = ", ".join(["value", *(f"pullback of {x}" if len(pullbacks) > 1 else "pullback" for x in pullbacks)])
        raise Wrong(f"{call} returned {kind}; expected a tuple ({parts}).", hint=NO_TUPLE)
    outputs = {f"The value of {call}": result[0]}
    for operand, pullback in zip(pullbacks, result[1:], strict=True):
        label = "pullback(g)" if len(pullbacks) == 1 else f"pullback(g) of {operand}"
        if not callable(pullback):
            raise Wrong(f"The pullback of {operand} is {brief(pullback)}; expected a function of g.", hint=NO_TUPLE)
        for again in ("", ", called again,"):  # a pullback that changes an array it needs fails the second time
            passed = np.array(g)
            outputs[f"{label}{again}"] = _plain(pullback(passed))
            if not np.array_equal(passed, g):
                values = [("g before", show(g)), ("g after", show(passed))]
                raise Wrong(f"{label} changes its argument g.", values, "Compute a new array, without *=, += or -=.")
    return outputs


def _plain(x: Any) -> Any:
    """Return a copy of an array, since a later call might change it; anything else unchanged."""
    return x.copy() if isinstance(x, np.ndarray) else x


def numerical_rule(function: Callable[..., Any], pullbacks: int) -> Rule:
    """Return the rule of a function of arrays, with pullbacks by finite differences."""

    def of_tensors(*operands: Any) -> Tensor:
        return Tensor(np.asarray(function(*(x.data if isinstance(x, Tensor) else x for x in operands))))

    def pullback(operands: tuple[Any, ...], i: int, g: Any) -> np.ndarray:
        inputs = tuple(Tensor(x) if np.asarray(x).dtype.kind == "f" else x for x in operands)
        return numerical_gradient(of_tensors, inputs, i, g)

    return lambda *operands: (function(*operands), *(partial(pullback, operands, i) for i in range(pullbacks)))


def rule_part(
    name: str,
    function: Callable[..., Any],
    pullbacks: tuple[str, ...],
    cases: Callable[[np.random.Generator], Iterator[Case]],
    mistakes: list[tuple[Rule, str]],
    hints: dict[str, str] | None = None,
) -> Part:
    """Return the part that checks a rule against a function of arrays."""
    return Part(
        (name,),
        partial(call_rule, name, pullbacks),
        SimpleNamespace(**{name: numerical_rule(function, len(pullbacks))}),
        cases,
        [Mistake(SimpleNamespace(**{name: wrong}), hint) for wrong, hint in mistakes],
        hints or {},
        rtol=1e-5,
        atol=1e-7,
    )


NO_G = "The factor g is missing: the chain rule multiplies by the gradient of the value."

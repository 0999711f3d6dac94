"""minigrad: reverse-mode automatic differentiation in NumPy, small enough to be read.

    >>> import minigrad as mg
    >>> x = mg.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> w = mg.Tensor([0.5, -0.5], requires_grad=True)
    >>> loss = (x @ w).tanh().square().mean()
    >>> loss.backward()
    >>> w.grad
    array([-1.453724, -2.180586], dtype=float32)

`mg.nn` has layers, `mg.optim` optimizers and learning rate schedules, with
torch's names. `python -m minigrad.study` and `docs/study/` explain how it
works. A reading order for the source:

1. `study/by_hand.py`   a two-layer network with back-propagation written out; `by_hand.py` is the fast version
2. `first.py`     the idea of the tape in thirty lines
3. `tape.py`, `operation.py`, `memory.py`   recording, the backward pass, how a rule becomes an operation, and
   which arrays it reads
4. `ops/`         the table of rules; start with `elementwise.py`
5. `tensor.py`, `in_place.py`   the class that puts operators on the rules, and changes in place
6. `gradcheck.py` a gradient compared with finite differences
7. `nn/`, `optim/`   layers, optimizers and schedules
8. `functional.py`, `modes.py`, `anomaly.py`, `graph/`   gradients of functions, the first NaN, the graph as a picture
9. `classifier.py`, `training.py`, `train.py`   the network of a recipe, and its training
10. `parallel.py` the same training in several processes
"""

import builtins
import importlib
from typing import TYPE_CHECKING, Any

from . import ops
from .functional import grad, value_and_grad
from .gradcheck import gradcheck
from .modes import detect_anomaly, no_grad
from .operation import Array, operation
from .ops import *  # noqa: F403
from .tensor import Tensor

# Without abs, max, min and sum, so that `from minigrad import *` does not replace Python's functions.
__all__ = [
    "Array", "Tensor", "detect_anomaly", "grad", "gradcheck", "graph", "nn", "no_grad", "operation", "ops", "optim",
    "value_and_grad", *(name for name in ops.__all__ if not hasattr(builtins, name)),
]  # fmt: skip

# The name on the package index, from which the version is read; the import name stays `minigrad`.
DISTRIBUTION = "digits-three-ways"

if TYPE_CHECKING:
    from . import graph, nn, optim

    __version__: str
else:

    def __getattr__(name: str) -> Any:
        """Import a submodule or look up the version on first use, so that `import minigrad` stays fast."""
        if name in ("graph", "nn", "optim"):
            return importlib.import_module(f".{name}", __name__)
        if name == "__version__":
            return globals().setdefault(name, _version())
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:  # a source tree that is not installed
        return "unknown"

"""minigrad: reverse-mode automatic differentiation in NumPy, small enough to be read.

A reading order:

1. `by_hand.py`   a two-layer network with back-propagation written out: what autograd will spare you
2. `tape.py`      recording and backward
3. `ops/`         the table of rules: `elementwise.py` first, `image.py` and `linalg.py` for the longer ones
4. `tensor.py`    the class that puts operators on the rules
5. `gradcheck.py` how to know that it is all true
6. `nn/`, `optim/`   layers, optimisers and schedules, as in torch
7. `functional.py`, `anomaly.py`, `graph/`   gradients of functions, the first NaN, what the tape holds, drawn
8. `classifier.py`, `training.py`, `train.py`   the network of a recipe, trained
9. `trained.py`, `predict.py`, `export.py`   the same network again from its weights file
"""

from . import graph, nn, ops, optim
from .functional import grad, value_and_grad
from .gradcheck import gradcheck
from .ops import *  # noqa: F403
from .tape import Array, detect_anomaly, no_grad, operation
from .tensor import Tensor

__all__ = [
    "Array", "Tensor", "detect_anomaly", "grad", "gradcheck", "graph", "nn", "no_grad", "operation", "ops", "optim",
    "value_and_grad", *ops.__all__,
]  # fmt: skip

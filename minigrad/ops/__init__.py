"""The table of rules, by family."""

from .elementwise import add, divide, dropout, exp, log, multiply, negative, power, relu, sigmoid, sqrt, subtract, tanh
from .linalg import linear, matmul
from .loss import cross_entropy
from .reduce import log_softmax, logsumexp, mean, softmax, sum
from .shape import getitem, reshape, transpose

__all__ = [
    "add",
    "cross_entropy",
    "divide",
    "dropout",
    "exp",
    "getitem",
    "linear",
    "log",
    "log_softmax",
    "logsumexp",
    "matmul",
    "mean",
    "multiply",
    "negative",
    "power",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "subtract",
    "sum",
    "tanh",
    "transpose",
]

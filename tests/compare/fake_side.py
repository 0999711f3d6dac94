"""A side in NumPy, for tests of the stages: linear, statistics, activation, linear."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compare.porting.model import Framework, Layer, Parameter, Structure

Arrays = dict[str, np.ndarray]
INPUTS, UNITS, CLASSES = 6, 5, 3


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


@dataclass
class FakeModel:
    """The description of a model.

    Attributes:
        framework: whose conventions it follows.
        activation: of the hidden layer; its derivative is that of ReLU.
        scale: factor of the inputs, outside of all layers.
        gain: factor of the output of the second linear layer.
        bias: whether the first linear layer has a bias.
        momentum, unbiased: the conventions of the statistics.
        reduction: of the loss.
        epsilon: of Adam, if the framework is Keras.
        weights: those of the first linear layer are random by `seed`.
    """

    framework: Framework = "torch"
    activation: Callable[[np.ndarray], np.ndarray] = relu
    scale: float = 1.0
    gain: float = 1.0
    bias: bool = True
    momentum: float = 0.1
    unbiased: bool = True
    reduction: str = "mean"
    epsilon: float = 1e-7
    seed: int = 0
    names: tuple[str, str, str, str] = ("fc1", "stats", "act", "fc2")
    shape: tuple[int, ...] | None = (INPUTS,)
    saved: list[str] = field(default_factory=list)

    def weights(self) -> Arrays:
        rng = np.random.default_rng(self.seed)
        first, stats, _, second = self.names
        weights = {f"{first}.weight": rng.normal(size=(UNITS, INPUTS)), f"{first}.bias": rng.normal(size=UNITS)}
        weights |= {f"{stats}.running_mean": np.zeros(UNITS), f"{stats}.running_var": np.ones(UNITS)}
        weights |= {f"{second}.weight": rng.normal(size=(CLASSES, UNITS)), f"{second}.bias": rng.normal(size=CLASSES)}
        return {name: w for name, w in weights.items() if self.bias or name != f"{first}.bias"}


class FakeSide:
    """Has the methods of `compare.porting.side.Side`."""

    def __init__(self, model: FakeModel, dtype: str) -> None:
        self.model, self.dtype = model, np.dtype(dtype)
        self.values = {name: w.astype(dtype) for name, w in model.weights().items()}

    def __enter__(self) -> FakeSide:
        return self

    def __exit__(self, *_: object) -> None: ...

    def input_shape(self) -> tuple[int, ...] | None:
        return self.model.shape

    def vocabulary(self) -> int | None:
        return None

    def describe(self, inputs: np.ndarray) -> Structure:
        first, stats, act, second = self.model.names
        n = len(inputs)
        buffers = {"momentum": self.model.momentum, "unbiased": self.model.unbiased}
        rows: tuple[tuple[str, str, dict[str, Any], int, int], ...] = (
            (first, "linear", {}, INPUTS, UNITS),
            (stats, "batch_norm", buffers, UNITS, UNITS),
            (act, "activation", {}, UNITS, UNITS),
            (second, "linear", {}, UNITS, CLASSES),
        )
        layers = []
        for name, kind, config, size, units in rows:
            own = [key for key in self.values if key.startswith(f"{name}.")]
            parameters = tuple(
                Parameter(key, key.split(".")[1], self.values[key].shape, "running" not in key) for key in own
            )
            layers.append(Layer(name, kind, config, parameters, ((n, size),), (n, units)))
        backend = "torch" if self.model.framework == "torch" else "tensorflow"
        return Structure(self.model.framework, backend, None, tuple(layers))

    def weights(self) -> Arrays:
        return {name: w.astype(np.float64) for name, w in self.values.items()}

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        assert weights.keys() <= self.values.keys()
        self.values |= {name: w.astype(self.dtype) for name, w in weights.items()}

    def single(self, layer: str, inputs: Sequence[np.ndarray], mode: str = "eval") -> np.ndarray:
        x, w = inputs[0].astype(self.dtype), self.values
        _, stats, act, second = self.model.names
        if layer == act:
            return self.model.activation(x)
        if layer == stats:
            return x
        product = x @ w[f"{layer}.weight"].T + w.get(f"{layer}.bias", np.zeros(1, self.dtype))
        return product * self.dtype.type(self.model.gain) if layer == second else product

    def record(self, inputs: np.ndarray, mode: str = "eval", keep_inputs: bool = False) -> Arrays:
        x, arrays = inputs.astype(self.dtype) * self.dtype.type(self.model.scale), {}
        for name in self.model.names:
            arrays[f"input {name} 0"] = x
            arrays[f"output {name}"] = x = self.single(name, [x], mode)
        return arrays | {"output": x}

    def train(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        loss: str = "cross_entropy",
        optimizer: str = "sgd",
        lr: float = 0.01,
        steps: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> Arrays:
        start, arrays = dict(self.values), Arrays()
        moments = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in start.items()}
        for k in range(1, max(1, steps) + 1):
            value, gradients = self._gradients(inputs, targets)
            arrays[f"loss {k}"] = np.array(value)
            arrays |= {f"gradient {name} {k}": g for name, g in gradients.items()}
            if steps:
                self._track(self.record(inputs)[f"input {self.model.names[1]} 0"])
                for name, g in gradients.items():
                    change = g * lr if optimizer == "sgd" else self._adam(moments, name, g, k) * lr
                    self.values[name] = (self.values[name] - change).astype(self.dtype)
                arrays |= {f"weight {name} {k}": w for name, w in self.values.items()}
        self.values = start
        return arrays

    def check_repeat(self, inputs: np.ndarray, mode: Literal["eval", "train"] = "eval") -> str | None:
        return None

    def save(self, path: Path) -> Path:
        path.write_bytes(b"weights")
        return path

    def peak_mb(self) -> float:
        return 1.0

    def _gradients(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        arrays = self.record(inputs)
        first, _, act, second = self.model.names
        logits = arrays["output"]
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        rows = np.arange(len(targets))
        count = 1 if self.model.reduction == "sum" else len(targets)
        value = float(-np.log(p[rows, targets]).sum() / count)
        p[rows, targets] -= 1
        d = p / self.dtype.type(count)
        gradients = {f"{second}.weight": d.T @ arrays[f"input {second} 0"], f"{second}.bias": d.sum(0)}
        d = d @ self.values[f"{second}.weight"] * (arrays[f"input {act} 0"] > 0)
        gradients |= {f"{first}.weight": d.T @ arrays[f"input {first} 0"], f"{first}.bias": d.sum(0)}
        return value, {name: g for name, g in gradients.items() if name in self.values}

    def _track(self, x: np.ndarray) -> None:
        stats, m = self.model.names[1], self.model.momentum
        for role, new in (("running_mean", x.mean(0)), ("running_var", x.var(0, ddof=int(self.model.unbiased)))):
            key = f"{stats}.{role}"
            self.values[key] = ((1 - m) * self.values[key] + m * new).astype(self.dtype)

    def _adam(
        self, moments: dict[str, tuple[np.ndarray, np.ndarray]], name: str, g: np.ndarray, step: int
    ) -> np.ndarray:
        m, v = moments[name]
        m, v = moments[name] = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        if self.model.framework == "torch":
            return m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        one = self.dtype.type(1)
        first, second = (float(one - self.dtype.type(float(self.dtype.type(b)) ** step)) for b in (0.9, 0.999))
        return m * np.sqrt(second) / first / (np.sqrt(v) + self.model.epsilon)

"""The base class of optimizers: parameters in groups, their settings, and the state.

The state is one list of arrays per moment, in the order of `parameters`, so
that `state_dict` is a plain dict of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import checks
from ..tape import mark_changed
from ..tensor import Tensor
from .parameters import items, trainable

# Parameters: tensors, pairs of a name and a tensor, or groups.
Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]


def zeros(w: np.ndarray) -> np.ndarray:
    """The initial moment of a parameter. It is float32 for float16, in which squares of gradients would be 0."""
    return np.zeros_like(w, np.float32 if w.itemsize == 2 else None)


def _betas(owner: str, name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        checks.refuse(owner, name, value, "two numbers", TypeError)
    first, second = (checks.number(owner, f"{name}[{i}]", b, 0, 1) for i, b in enumerate(value))
    return first, second


# The settings of a parameter group, and their checks.
SETTINGS: dict[str, Callable[[str, str, Any], Any]] = {
    "lr": checks.number,
    "initial_lr": checks.number,  # the rate that a schedule started from
    "weight_decay": checks.number,
    "momentum": checks.number,
    "nesterov": lambda owner, name, value: checks.choice(owner, name, value, (False, True)),
    "alpha": lambda owner, name, value: checks.number(owner, name, value, 0, 1, "[]"),
    "betas": _betas,
    "eps": checks.number,
}


class Setting:
    """A setting as an attribute of the optimizer, such as `optimizer.lr`.

    It is the setting of the group that `step` updates at present, otherwise that of all groups.

    Raises:
        ValueError: the groups have different values.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: type) -> Any:
        if optimizer is None:
            return self
        if optimizer.group is not None:
            return optimizer.group[self.name]
        first, *others = (group[self.name] for group in optimizer.param_groups)
        if any(value != first for value in others):
            raise ValueError(
                f"{owner.__name__}: {self.name} differs between the parameter groups;"
                f" expected param_groups[i][{self.name!r}]"
            )
        return first

    def __set__(self, optimizer: Any, value: Any) -> None:
        self.__get__(optimizer, type(optimizer))
        value = SETTINGS[self.name](type(optimizer).__name__, self.name, value)
        for group in optimizer.param_groups:
            group[self.name] = value


class Optimizer:
    """The base class of optimizers. A subclass defines `update`.

    Args:
        parameters: the tensors to optimize; or pairs of a name and a tensor, as `named_parameters` returns them; or
            groups with settings of their own, such as `[{"params": [w], "lr": 0.1}, {"params": [b]}]`.
        lr: the learning rate. Schedules change it.
        weight_decay: each step adds weight_decay * parameter to the gradient.
        settings: the settings of the subclass.

    Attributes:
        param_groups: a dict per group, with `params`, a tuple of tensors, `param_names`, if they have names, and the
            settings, which can be changed between two steps.
        parameters: the tensors of all groups.
        steps: the number of steps so far.
        lr, weight_decay, ...: the settings, if all groups have the same.

    Raises:
        TypeError: `parameters` or one of them has another type; a setting is not a number.
        ValueError: there are no parameters; one does not require a gradient, was computed from others, or is passed
            twice; a setting is out of its range.
    """

    # The arrays that are the state, by the name of their list: how to create the one of a parameter.
    moments: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {}
    nonnegative: tuple[str, ...] = ()  # the moments that are never negative
    decoupled = False  # whether weight decay scales the weights instead of being added to the gradient
    group: Any = None  # the group that `step` updates at present
    schedule: str | None = None  # the class of the schedule that changes the learning rate
    lr: Any = Setting()
    weight_decay: Any = Setting()

    def __init__(self, parameters: Parameters, lr: float, weight_decay: float = 0.0, **settings: Any) -> None:
        self.defaults = self._checked({"lr": lr, "weight_decay": weight_decay, **settings})
        self.parameters: list[Tensor] = []
        self.param_groups: list[dict[str, Any]] = []
        self.steps = 0
        for name in self.moments:
            setattr(self, name, [])
        groups = items(type(self).__name__, parameters, "net.parameters() or [w]")
        if not groups or not any(isinstance(group, dict) for group in groups):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; settings that are missing are those of the optimizer.

        Args:
            group: a dict with `params`, a tensor or tensors, and settings.

        Raises:
            TypeError: as for the optimizer, or `group` is not a dict.
            ValueError: as for the optimizer, or a setting is unknown.
        """
        owner = type(self).__name__
        if not isinstance(group, dict):
            checks.refuse(owner, f"parameter group {len(self.param_groups)}", group, "a dict", TypeError)
        known = ["params", *self.defaults, "initial_lr"]
        problem = next((f"has the setting {name}" for name in group if name not in known), None)
        if problem or "params" not in group:
            raise ValueError(
                f"{owner}: parameter group {len(self.param_groups)} {problem or 'has no params'};"
                f" expected {', '.join(known)}"
            )
        settings = dict(group)
        params = settings.pop("params")
        settings = self._checked({**self.defaults, **settings})
        named = list(trainable(owner, [params] if isinstance(params, Tensor) else params, self.parameters))
        tensors = tuple([p for _, p in named])
        names = {"param_names": [name for name, _ in named]} if named[0][0] is not None else {}
        if self.param_groups and ("param_names" in self.param_groups[0]) != bool(names):
            raise ValueError(f"{owner}: only some parameters have names; expected names for all or for none")
        self.param_groups.append({"params": tensors, **names, **settings})
        self.parameters += tensors
        for name, moments in self._moments().items():
            moments += [self._initial(name, p.data, settings) for p in tensors]

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for p in self.parameters:
            p._grad = None

    def step(self) -> None:
        """Update each parameter that has a gradient.

        A float16 parameter is updated in float32 and rounded once.
        """
        self.steps += 1
        changed, i = [], -1
        try:
            for group in self.param_groups:
                self.group, decay = group, group["weight_decay"]
                for p in group["params"]:
                    i += 1
                    g, w = p._grad, p._data
                    if g is None:
                        continue
                    if is_narrow := w.itemsize == 2:
                        w, g = w.astype(np.float32), g.astype(np.float32)
                    if decay and self.decoupled:
                        w *= 1 - group["lr"] * decay
                    elif decay:
                        g = g + decay * w
                    changed.append(p)
                    self.update(i, w, g)
                    if is_narrow:
                        p._data[...] = w
        finally:
            self.group = None
            mark_changed(*changed)

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        """Change `w`, the array of the i-th parameter, in place, for its gradient `g`.

        The settings, such as `self.lr`, are those of the parameter's group, which is also in `self.group`.
        """
        raise TypeError(f"{type(self).__name__} has no update")

    def state_dict(self) -> dict[str, np.ndarray]:
        """The number of steps, copies of the moments, and the settings of each group, as arrays."""
        moments = self._named_moments()
        settings = {
            f"{name}.{g}": np.array(group[name])
            for g, group in enumerate(self.param_groups)
            for name in SETTINGS
            if name in group
        }
        return {"steps": np.array(self.steps), **{k: m.copy(order="K") for k, m in moments.items()}, **settings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the optimizer state from a `state_dict`. A setting that it does not contain keeps its value.

        Raises:
            TypeError: the state is not a dict.
            KeyError: an array is missing.
            ValueError: an array is unknown or has another shape or dtype, or a setting is out of its range. The state
                is unchanged in all of these cases.
        """
        owner = type(self).__name__
        if not isinstance(state, Mapping):
            checks.refuse(owner, "state", state, "a dict of arrays", TypeError)
        moments = self._named_moments()
        if missing := [key for key in ("steps", *moments) if key not in state]:
            raise KeyError(f"{owner}: the state has no {', '.join(missing)}; expected the state of such an optimizer")
        settings = {
            f"{name}.{g}": (group, name)
            for g, group in enumerate(self.param_groups)
            for name in ("initial_lr", *self.defaults)
        }
        if unknown := [str(key) for key in state if key not in ("steps", *moments, *settings)]:
            raise ValueError(f"{owner}: the state has {', '.join(unknown)}, which belong to another optimizer")
        steps = checks.integer(owner, "steps", checks.array(owner, "steps", state["steps"], np.array(0)).item(), 0)
        arrays = {key: checks.array(owner, key, state[key], m) for key, m in moments.items()}
        for key, array in arrays.items():
            if key.split(".")[0] in self.nonnegative and (array < 0).any():
                raise ValueError(f"{owner}: {key} contains {array.min()}; expected numbers of 0 or more")
        values = [
            (group, self._checked({name: np.asarray(state[key]).tolist()}))
            for key, (group, name) in settings.items()
            if key in state
        ]
        self.steps = steps
        for key, m in moments.items():
            m[...] = arrays[key]
        for group, value in values:
            group.update(value)

    def _checked(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {name: SETTINGS[name](type(self).__name__, name, value) for name, value in settings.items()}

    def _initial(self, name: str, w: np.ndarray, settings: dict[str, Any]) -> np.ndarray | None:
        """The initial moment `name` of a parameter; None if its group needs none."""
        return self.moments[name](w)

    def _moments(self) -> dict[str, list[np.ndarray | None]]:
        return {name: getattr(self, name) for name in self.moments}

    def _named_moments(self) -> dict[str, np.ndarray]:
        return {
            f"{name}.{i}": m for name, arrays in self._moments().items() for i, m in enumerate(arrays) if m is not None
        }

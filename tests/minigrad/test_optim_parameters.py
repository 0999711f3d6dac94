"""What an optimizer trains: its parameters, their groups and names, float16, and the state; and clipping."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import torch

from minigrad import Tensor, nn, ops, optim

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("RMSprop", {}),
    ("Adam", {}),
    ("AdamW", {"weight_decay": 0.1}),
]


def tensor(*numbers: float, dtype: Any = np.float64) -> Tensor:
    return Tensor(np.array(numbers or (1.0,), dtype), requires_grad=True)


W, V = tensor(), tensor()
EXPECTED = "expected a list of tensors, such as net.parameters() or [w]"
GRADIENT = "does not require a gradient; expected Tensor(..., requires_grad=True)"
REFUSED: dict[str, tuple[Any, str]] = {
    "tensor": (W, "parameters is of class Tensor; " + EXPECTED),
    "module": (nn.Linear(2, 2), "parameters is of class Linear; " + EXPECTED),
    "sequential": (nn.Sequential(nn.Linear(2, 2)), "parameters is of class Sequential; " + EXPECTED),
    "modules": ([nn.Linear(2, 2)], "parameter 0 is of class Linear; expected a tensor"),
    "array": (np.ones(3), "parameters is of class ndarray; " + EXPECTED),
    "arrays": ([W, np.ones(3)], "parameter 1 is of class ndarray; expected a tensor"),
    "integer": (3, "parameters = 3; " + EXPECTED),
    "integers": ([1, 2], "parameter 0 = 1; expected a tensor"),
    "string": ("w", "parameters = 'w'; " + EXPECTED),
    "none": (None, "parameters = None; " + EXPECTED),
    "dict": ({"w": W}, "parameters is of class dict; " + EXPECTED),
    "set": ({W}, "parameters is of class set; " + EXPECTED),
    "nested": ([[W]], "parameter 0 is of class list; expected a tensor"),
    "empty": ([], "no parameters; expected one or more tensors that require a gradient"),
    "exhausted": (iter(()), "no parameters; expected one or more tensors that require a gradient"),
    "computed": ([W, W * 2], "parameter 1 is the result of multiply; expected Tensor(..., requires_grad=True)"),
    "named and computed": ([("w", W.exp())], "parameter w is the result of exp; expected Tensor"),
    "no gradient": ([Tensor([1.0])], "parameter 0 " + GRADIENT),
    "twice": ([W, V, W], "parameter 2 is passed twice; expected each parameter once"),
    "in two groups": ([{"params": [W]}, {"params": [V, W]}], "parameter 2 is passed twice; expected each"),
    "some names": ([("w", W), V], "only some parameters have names; expected names for all or for none"),
    "names in one group": ([{"params": [("w", W)]}, {"params": V}], "only some parameters have names"),
    "no params": ([{"lr": 1.0}], "parameter group 0 has no params; expected params, lr, weight_decay"),
    "misspelt": ([{"params": W, "weightdecay": 1.0}], "parameter group 0 has the setting weightdecay; expected params"),
    "empty group": ([{"params": W}, {"params": []}], "no parameters; expected one or more tensors"),
    "bad setting": ([{"params": W, "lr": -1}], "lr = -1; expected a number of 0 or more"),
    "group and tensor": ([{"params": W}, V], "parameter group 1 is of class Tensor; expected a dict"),
}


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize(("parameters", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_refused(kind: str, parameters: Any, sentence: str) -> None:
    with pytest.raises((TypeError, ValueError), match="^" + re.escape(f"{kind}: {sentence}")):
        getattr(optim, kind)(parameters, 0.1)


def test_a_group_that_is_refused_is_not_added() -> None:
    optimizer = optim.Adam([W])
    for group in ({"params": W}, {"params": [V, 3]}, {"params": V, "lr": -1}, [V]):
        with pytest.raises((TypeError, ValueError)):
            optimizer.add_param_group(group)  # type: ignore[arg-type]
    assert (len(optimizer.param_groups), len(optimizer.parameters), len(optimizer.first)) == (1, 1, 1)


def groups(a: Any, b: Any, options: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"params": [a]}, {"params": b, "lr": 0.5, "weight_decay": 0.2, **options}]


@pytest.mark.parametrize(
    ("kind", "options", "own"),
    [
        ("SGD", {"lr": 0.1}, {"momentum": 0.9, "nesterov": True}),
        ("SGD", {"lr": 0.1, "momentum": 0.5}, {"momentum": 0.0}),
        ("RMSprop", {}, {"alpha": 0.5, "eps": 1e-3}),
        ("Adam", {"weight_decay": 0.1}, {"betas": (0.5, 0.8)}),
        ("AdamW", {"weight_decay": 0.1}, {"eps": 1e-2}),
    ],
)
def test_each_group_is_updated_with_its_settings_as_in_torch(
    kind: str, options: dict[str, Any], own: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    start = [rng.normal(size=3) for _ in range(3)]
    ours = [tensor(*a) for a in start]
    theirs = [torch.tensor(a, requires_grad=True) for a in start]
    optimizer = getattr(optim, kind)(groups(*ours[:2], own), **options)
    reference = getattr(torch.optim, kind)(groups(*theirs[:2], own), **options)
    schedules = optim.StepLR(optimizer, 2, 0.5), torch.optim.lr_scheduler.StepLR(reference, 2, 0.5)
    for step in range(8):
        if step == 3:
            for o, p in ((optimizer, ours[2]), (reference, theirs[2])):
                o.add_param_group({"params": [p], "lr": 0.3, "initial_lr": 0.6})
            schedules[1].base_lrs.append(0.6)
        for p, t in zip(ours, theirs, strict=True):
            g = rng.normal(size=3)
            p.grad, t.grad = g, torch.tensor(g)
        optimizer.step()
        reference.step()
        for schedule in schedules:
            schedule.step()
        for p, t in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=1e-12)
        for group, expected in zip(optimizer.param_groups, reference.param_groups, strict=True):
            for name in group.keys() - {"params"}:
                assert group[name] == pytest.approx(expected[name]), name


def test_settings_are_attributes_if_all_groups_agree() -> None:
    optimizer = optim.SGD([{"params": tensor(), "lr": 1.0}, {"params": tensor()}], 0.1)
    optimizer.weight_decay = 0.5
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.5]
    sentence = r"SGD: lr differs between the parameter groups; expected param_groups\[i\]\['lr'\]"
    with pytest.raises(ValueError, match=sentence):
        optimizer.lr  # noqa: B018
    with pytest.raises(ValueError, match=sentence):
        optimizer.lr = 2.0
    assert not hasattr(optimizer, "betas")


def test_a_rule_of_a_subclass_reads_the_settings_of_the_group() -> None:
    class Sign(optim.SGD):
        def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
            w -= self.lr * np.sign(g)

    a, b = tensor(0.0), tensor(0.0)
    optimizer = Sign([{"params": a, "lr": 1.0}, {"params": b}], 0.1)
    a.grad = b.grad = np.array([5.0])
    optimizer.step()
    assert (a.data.item(), b.data.item()) == (-1.0, -0.1)


def test_named_parameters_keep_their_names() -> None:
    net = nn.Sequential(nn.Linear(2, 2), ops.relu)
    optimizer = optim.Adam(net.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["0.weight", "0.bias"]
    assert optimizer.parameters == net.parameters()
    assert optim.SGD(dict(net.named_parameters()).values(), 0.1).parameters == net.parameters()


def test_momentum_can_be_switched_on() -> None:
    w = tensor(0.0)
    optimizer = optim.SGD([w], 1.0)
    for momentum in (0.0, 0.5, 0.5):
        optimizer.momentum, w.grad = momentum, np.array([1.0])
        optimizer.step()
    assert w.data.item() == -1 - 1 - 1.5


def test_a_step_and_a_loaded_state_are_recorded_as_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, changed = nn.Linear(2, 2), []
    for module in (optim.optimizer, nn.module):
        monkeypatch.setattr(module, "mark_changed", lambda *arrays: changed.extend(arrays))
    for p in layer.parameters():
        p.grad = np.ones(p.shape, p.dtype)
    optim.SGD(layer.parameters(), 0.1).step()
    assert changed == layer.parameters()
    changed.clear()
    layer.load_state_dict(layer.state_dict())
    assert changed == layer.parameters()


# float16.


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_float16_is_computed_in_float32_and_rounded_once(kind: str, options: dict[str, Any]) -> None:
    half, single = tensor(1, 2, 3, dtype=np.float16), tensor(1, 2, 3, dtype=np.float32)
    optimizers = [getattr(optim, kind)([p], **options) for p in (half, single)]
    for gradient in ([300.0, 0.0, 1e-4], [-400.0, 0.0, 6e-5]):  # squares that overflow and underflow in float16
        single.data[...] = half.data
        for p, optimizer in zip((half, single), optimizers, strict=True):
            p.grad = np.array(gradient, np.float16).astype(p.dtype)
            optimizer.step()
        assert half.dtype == np.float16
        np.testing.assert_array_equal(half.data, single.data.astype(np.float16))
    restored = getattr(optim, kind)([half], **options)
    restored.load_state_dict(optimizers[0].state_dict())
    assert {a.dtype for name, a in restored.state_dict().items() if name.endswith("second.0")} <= {np.dtype("f4")}


def test_plain_sgd_in_float16_is_torchs() -> None:
    w, t = tensor(1, 2, 3, dtype=np.float16), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float16, requires_grad=True)
    ours, theirs = optim.SGD([w], 0.1), torch.optim.SGD([t], 0.1)
    for _ in range(5):
        w.grad, t.grad = np.array([300, 0.3, 1e-4], np.float16), torch.tensor([300, 0.3, 1e-4], dtype=torch.float16)
        ours.step()
        theirs.step()
    np.testing.assert_array_equal(w.data, t.detach().numpy())


# States.


def make(kind: str, n: int = 1, **options: Any) -> Any:
    return getattr(optim, kind)([tensor() for _ in range(n)], **{"lr": 0.1, **options})


@pytest.mark.parametrize(
    ("optimizer", "other", "sentence"),
    [
        (make("SGD"), make("Adam"), "SGD: the state has first.0, second.0, age.0, betas.0, eps.0, which belong to"),
        (make("RMSprop"), make("Adam"), "RMSprop: the state has first.0, age.0, betas.0, which belong to another"),
        (make("Adam"), make("RMSprop"), "Adam: the state has no first.0, age.0; expected the state of such"),
        (make("Adam"), make("Adam", 2), "Adam: the state has first.1, second.1, age.1, which belong to another"),
        (make("Adam", 2), make("Adam"), "Adam: the state has no first.1, second.1, age.1; expected"),
        (make("SGD"), make("SGD", momentum=0.9), "SGD: the state has velocity.0, which belong to another optimizer"),
    ],
)
def test_the_state_of_another_optimizer_is_refused(optimizer: Any, other: Any, sentence: str) -> None:
    other.lr = 0.5
    with pytest.raises((KeyError, ValueError), match=re.escape(sentence)):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.lr == 0.1


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("steps", np.array(-1), "steps = -1; expected an integer of 0 or more"),
        ("steps", np.array(1.5), "steps has dtype float64; expected int64"),
        ("steps", np.array([1, 2]), r"steps has shape \(2,\); expected \(\)"),
        ("lr.0", np.array(math.nan), "lr = nan; expected a number of 0 or more"),
        ("betas.0", np.array(3), "betas = 3; expected two numbers"),
        ("second.0", np.ones(1, complex), "second.0 has dtype complex128; expected float64"),
        ("age.0", np.array(1.5), "age.0 has dtype float64; expected int64"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(key: str, value: np.ndarray, sentence: str) -> None:
    optimizer = make("Adam")
    state = {**make("Adam").state_dict(), "steps": np.array(7), "first.0": np.full(1, 7.0)}
    with pytest.raises((TypeError, ValueError), match=f"Adam: {sentence}"):
        optimizer.load_state_dict({**state, key: value})
    assert (optimizer.steps, optimizer.first[0].item()) == (0, 0)


def test_a_state_restores_the_settings_and_one_without_them_keeps_them() -> None:
    optimizer = make("Adam", betas=(0.5, 0.8))
    state = make("Adam", lr=0.3, betas=(0.6, 0.7)).state_dict()
    optimizer.load_state_dict(
        {name: a for name, a in state.items() if name in ("steps", "first.0", "second.0", "age.0")}
    )
    assert (optimizer.lr, optimizer.betas) == (0.1, (0.5, 0.8))
    optimizer.load_state_dict(state)
    assert (optimizer.lr, optimizer.betas) == (0.3, (0.6, 0.7))


# Clipping.


@pytest.mark.parametrize("norm_type", [0.5, 1, 2, 3.0, math.inf])
def test_a_p_norm_is_clipped_as_torch_clips_it(norm_type: float) -> None:
    ours, theirs = [tensor(0, 0), tensor(0)], [torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)]
    for p, t, g in zip(ours, theirs, ([3.0, -4.0], [0.5]), strict=True):
        p.grad, t.grad = np.array(g), torch.tensor(g)
    norm = optim.clip_grad_norm_(ours, 2.0, norm_type)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, 2.0, norm_type)), rel=1e-6)
    for p, t in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad, t.grad.numpy(), rtol=1e-6)


def test_a_single_tensor_is_clipped() -> None:
    w = tensor(0, 0)
    w.grad = np.array([30.0, 40.0])
    assert optim.clip_grad_norm_(w, 5.0) == 50
    np.testing.assert_allclose(w.grad, [3, 4], rtol=1e-6)
    optim.clip_grad_value_(w, 3.5)
    np.testing.assert_allclose(w.grad, [3, 3.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(np.float16, 300), (np.float16, 6e4), (np.float16, 1e-4), (np.float32, 1e30), (np.float32, 1e-30)],
)
def test_a_norm_does_not_overflow_or_underflow(dtype: Any, value: float) -> None:
    parameters = [tensor(0, dtype=dtype) for _ in range(10)]
    for p in parameters:
        p.grad = np.array([value], dtype)
    number = float(np.array(value, dtype))
    assert optim.clip_grad_norm_(parameters, number) == pytest.approx(math.sqrt(10) * number, rel=1e-6)
    assert parameters[0].grad is not None
    if number > 1e-3:
        assert parameters[0].grad.item() == pytest.approx(number / math.sqrt(10), rel=1e-3)
    assert parameters[0].grad.dtype == dtype


def test_a_norm_that_is_not_finite_is_an_error_on_request() -> None:
    w = tensor(0, 0)
    w.grad = np.array([math.nan, 1.0])
    with pytest.raises(
        RuntimeError, match="clip_grad_norm_: the norm of the gradients is nan; expected a finite number"
    ):
        optim.clip_grad_norm_([w], 1.0, error_if_nonfinite=True)
    assert w.grad[1] == 1


@pytest.mark.parametrize("clip", [optim.clip_grad_norm_, optim.clip_grad_value_])
@pytest.mark.parametrize(
    "parameters", [nn.Linear(2, 2), {"w": W}, np.ones(2), "w", None, 3, [3], [np.ones(2)]], ids=str
)
def test_clipping_something_else_is_refused(clip: Any, parameters: Any) -> None:
    with pytest.raises(TypeError, match=r"clip_grad_\w+_: parameters? .*expected a"):
        clip(parameters, 1.0)

"""Values that would be misread silently are refused, and the error names what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from minigrad import Array, Tensor, detect_anomaly, grad, gradcheck, nn, no_grad, operation, ops, optim


def leaf(*shape: int) -> Tensor:
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


# Assigned gradients.


@pytest.mark.parametrize("value", [np.ones(3), np.ones((3, 2)), 1.0, "a", np.ones((2, 3)) * 1j, [[1], [1, 2]]], ids=str)
def test_an_assigned_gradient_has_the_shape_and_kind_of_the_data(value: Any) -> None:
    p = leaf(2, 3)
    with pytest.raises(ValueError, match=r"^grad: "):
        p.grad = value
    assert p.grad is None


@pytest.mark.parametrize("value", [np.full((2, 3), 2.0), Tensor(np.full((2, 3), 2)), [[2] * 3] * 2], ids=str)
def test_an_assigned_gradient_is_cast(value: Any) -> None:
    p = leaf(2, 3)
    p.grad = value
    assert type(p.grad) is np.ndarray
    assert p.grad.dtype == np.float32
    optim.SGD([p], 0.5).step()
    np.testing.assert_array_equal(p.data, np.zeros((2, 3)))


def test_an_assigned_gradient_can_be_changed_in_place() -> None:
    p = leaf(2, 3)
    p.grad = np.broadcast_to(np.float32(2), (2, 3))
    p.sum().backward()
    p.grad *= 2
    optim.clip_grad_value_(p, 5)
    np.testing.assert_array_equal(p.grad, np.full((2, 3), 5))


# Buffers that batch normalization changes.


def test_running_statistics_are_recorded_as_changed() -> None:
    layer, x = nn.BatchNorm1d(3), leaf(4, 3)
    y = (x * layer.running_var).sum()
    layer(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    with pytest.raises(RuntimeError, match="changed in place after it was recorded"):
        y.backward()


def test_batch_normalization_can_be_called_several_times() -> None:
    layer, x = nn.BatchNorm1d(3), leaf(4, 3)
    first = layer(x * 2) + layer(x)
    layer.eval()
    second = layer(x)
    layer.train()
    (first + second + layer(x)).sum().backward()
    assert x.grad is not None


# Arrays that a pullback keeps.


def test_gradcheck_refuses_a_gradient_that_the_pullback_keeps() -> None:
    @operation
    def total(a: Array):
        weights = np.ones_like(a)

        def back(g: np.ndarray) -> np.ndarray:
            weights[...] = g
            return weights

        return np.sum(a), back

    with pytest.raises(ValueError, match="gradcheck: the gradient of input 0 is an array that the pullback keeps"):
        gradcheck(total, np.ones(3))


# Tensors.


@pytest.mark.parametrize("data", ["1", ["1", "2"], None, 1j, {1: 2}, [b"1"], [1.0, None], [[1], [1, 2]]], ids=str)
def test_a_tensor_contains_numbers(data: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^Tensor: "):
        Tensor(data)


@pytest.mark.parametrize(
    ("fn", "error", "words"),
    [
        (lambda x: x[5], IndexError, r"getitem: operands of shape \(3,\): index 5 is out of bounds"),
        (lambda x: x["a"], IndexError, r"getitem: operands of shape \(3,\): "),
        (lambda x: ops.take(x, 9), IndexError, r"getitem: operands of shape \(3,\): index 9"),
        (lambda x: x.argmax(5), ValueError, r"argmax: a tensor of shape \(3,\), axis = 5: "),
        (lambda x: x.argmax("a"), TypeError, r"argmax: a tensor of shape \(3,\), axis = 'a': "),
        (lambda x: x.detach().__setitem__(9, 1), IndexError, r"\[index\] =: a tensor of shape \(3,\) with "),
        (lambda x: ops.concatenate(3), TypeError, "concatenate: 3; expected a sequence of arrays"),
        (lambda x: ops.stack(Tensor(1.0)), TypeError, "stack: .*; expected a sequence of arrays"),
        (lambda x: ops.stack([]), ValueError, "stack: need at least one array"),
        (lambda x: ops.exp(), TypeError, "exp: exp.* missing 1 required"),
        (lambda x: ops.add(x, a=x), TypeError, "add: multiple values for argument 'a'"),
        (lambda x: ops.dropout(x, rng=0), TypeError, "dropout: rng = 0; expected a generator"),
    ],
)
def test_an_error_names_the_operation(fn: Callable[[Tensor], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=rf"^{words}"):
        fn(leaf(3))


def test_unary_plus() -> None:
    x = leaf(3)
    (+x).sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(3))


def test_anomalies_name_the_operand() -> None:
    with detect_anomaly(), pytest.raises(FloatingPointError, match="value; operand weight contained one already"):
        ops.linear(np.ones((1, 2)), Tensor([[np.inf, 1.0]]))


# Gradients of functions.


@pytest.mark.parametrize("argnums", ["x", 1.5, None, (0, "x")], ids=str)
def test_argnums_are_integers(argnums: Any) -> None:
    with pytest.raises(TypeError, match=r"grad: argnums = .*; expected an int or a tuple of ints"):
        grad(lambda x: x, argnums)


@pytest.mark.parametrize("argnums", [1, -2, (0, 1)], ids=str)
def test_argnums_are_positions_of_arguments(argnums: Any) -> None:
    with pytest.raises(ValueError, match=r"grad: argnums = .*, but the function got 1 arguments by position"):
        grad(lambda x: x, argnums)(1.0)


def test_grad_accepts_named_tuples_and_numpy_integers() -> None:
    class Pair(NamedTuple):
        x: Any
        y: Any

    assert grad(lambda n, p: n * p.x * p.y, np.int64(1))(1.0, Pair(2.0, 3.0)) == Pair(3.0, 2.0)


# Optimizers and schedules.


@pytest.mark.parametrize(("kind", "name"), [("Adam", "age.0"), ("Adam", "second.0"), ("RMSprop", "second.0")])
def test_a_state_with_negative_moments_is_refused(kind: str, name: str) -> None:
    optimizer = getattr(optim, kind)([leaf(2)])
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=rf"{kind}: {name} contains -1.*; expected numbers of 0 or more"):
        optimizer.load_state_dict({**state, name: state[name] - 1})
    np.testing.assert_array_equal(optimizer.state_dict()[name], state[name])


@pytest.mark.parametrize("metric", ["a", None, [1, 2], np.ones(3), 1j], ids=str)
def test_a_metric_is_a_number(metric: Any) -> None:
    schedule = optim.ReduceLROnPlateau(optim.SGD([leaf(2)], 0.1))
    with pytest.raises(TypeError, match=r"ReduceLROnPlateau: metric .*; expected a number"):
        schedule.step(metric)


# Values.


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("row", [[1, np.inf], [-np.inf, 1], [-np.inf, -np.inf], [np.inf, -np.inf]], ids=str)
def test_softmax_of_infinities_is_that_of_torch(name: str, row: list[float]) -> None:
    with np.errstate(invalid="ignore"):
        actual = getattr(ops, name)(np.array(row))
    np.testing.assert_allclose(actual, getattr(torch, name)(torch.tensor(row, dtype=torch.float64), -1).numpy())


def test_the_factor_of_a_power_does_not_overflow() -> None:
    a = Tensor(np.zeros(1, np.float32), requires_grad=True)
    ops.power(a, np.float32(3e38)).backward(np.full(1, 2))
    np.testing.assert_array_equal(a.grad, [0])


def test_a_change_under_no_grad_keeps_the_tensor() -> None:
    x = leaf(3)
    alias = x
    with no_grad():
        alias += 1
    assert alias is x
    np.testing.assert_array_equal(x.data, np.full(3, 2))

"""grad and value_and_grad: gradients of functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, grad, no_grad, ops, value_and_grad


def test_grad_is_the_derivative() -> None:
    found = grad(lambda x: (x**3).sum())(np.array([1.0, 2.0]))
    assert type(found) is np.ndarray
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [3, 12])


def test_value_and_grad_gives_the_value_as_a_plain_array_too() -> None:
    value, found = value_and_grad(lambda x: (x * x).sum())(np.array([1, 2], np.float32))
    assert type(value) is np.ndarray
    assert value.dtype == found.dtype == np.float32
    assert value == 5
    np.testing.assert_array_equal(found, [2, 4])


def test_a_float_has_a_gradient_too() -> None:
    assert grad(lambda x: x * x)(3.0) == 6
    assert grad(ops.exp)(0.0) == 1


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [
        (0, [3.0, 4.0]),
        (1, [1.0, 2.0]),
        (-1, [1.0, 2.0]),
        ((0, 1), ([3, 4], [1, 2])),
        ((1, 0), ([1, 2], [3, 4])),
        ((1,), ([1, 2],)),
    ],
)
def test_argnums_says_which_arguments(argnums: Any, expected: Any) -> None:
    found = grad(lambda a, b: (a * b).sum(), argnums)(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert type(found) is (tuple if isinstance(argnums, tuple) else np.ndarray)
    np.testing.assert_array_equal(found, expected)


def test_other_arguments_and_options_are_passed_as_they_are() -> None:
    seen: list[Any] = []

    def fn(x: Tensor, n: int, *, scale: np.ndarray) -> Tensor:
        seen.extend([n, scale])
        return (x[:n] * scale).sum()

    scale = np.array([2.0, 3.0])
    np.testing.assert_array_equal(grad(fn)(np.ones(3), 2, scale=scale), [2, 3, 0])
    assert seen[0] == 2
    assert seen[1] is scale


def test_an_argument_may_be_a_container_and_the_gradient_is_of_the_same_form() -> None:
    def fn(p: dict[str, Any]) -> Tensor:
        (w, b), (scale,) = p["layer"], p["more"]
        return ((w * 2 + b) * scale).sum()

    p = {"layer": [np.array([1.0, 2.0]), np.array([0.5, 0.5])], "more": (np.array([3.0, 4.0]),)}
    found = grad(fn)(p)
    assert list(found) == ["layer", "more"]
    assert type(found["layer"]) is list
    assert type(found["more"]) is tuple
    np.testing.assert_array_equal(found["layer"], [[6, 8], [3, 4]])
    np.testing.assert_array_equal(found["more"], [[2.5, 4.5]])


def test_what_the_value_does_not_depend_on_has_zeros() -> None:
    found = grad(lambda p: p["used"].sum())({"used": np.ones(2), "unused": np.ones((2, 3), np.float32)})
    np.testing.assert_array_equal(found["unused"], np.zeros((2, 3)))
    assert found["unused"].dtype == np.float32
    np.testing.assert_array_equal(grad(lambda a, b: a.sum(), 1)(np.ones(2), np.ones(3)), np.zeros(3))
    np.testing.assert_array_equal(grad(lambda a: Tensor(1.0))(np.ones(3)), np.zeros(3))


def test_nothing_is_left_behind_between_calls() -> None:
    x = np.array([1.0, 2.0])
    fn = grad(lambda t: (t * t).sum())
    first = fn(x)
    np.testing.assert_array_equal(fn(x), first)
    np.testing.assert_array_equal(x, [1, 2])
    first += 1
    np.testing.assert_array_equal(fn(x), [2, 4])


def test_an_argument_given_twice_has_two_gradients() -> None:
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(grad(lambda a, b: (a * a * b).sum(), (0, 1))(x, x), [[2, 8], [1, 4]])


def test_a_tensor_without_a_gradient_may_be_the_argument() -> None:
    np.testing.assert_array_equal(grad(lambda t: (t * t).sum())(Tensor([1.0, 2.0])), [2, 4])


def test_a_second_order_is_refused_with_a_sentence() -> None:
    def cube(x: Any) -> Any:
        return x * x * x

    with pytest.raises(TypeError, match=r"grad: .*first order only"):
        grad(grad(cube))(2.0)
    with pytest.raises(TypeError, match=r"grad: .*first order only"):
        grad(lambda x: value_and_grad(cube)(x)[0])(2.0)


def test_a_second_order_in_a_container_is_refused_too() -> None:
    inner = grad(lambda p: (p["w"] * p["w"]).sum())
    with pytest.raises(TypeError, match="first order only"):
        grad(lambda w: inner({"w": w}))(np.ones(2))


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match="int64 can't require a gradient"):
        grad(lambda x: x.sum())(np.array([1, 2]))


def test_nothing_is_no_argument() -> None:
    # As an array, None would be a NaN.
    with pytest.raises(TypeError):
        grad(lambda p: p["w"].sum())({"w": np.ones(2), "b": None})


def test_a_value_of_several_elements_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        grad(lambda x: x * 2)(np.ones(2))


@pytest.mark.parametrize("fn", [lambda x: (x.sum(), x), lambda x: [x.sum()], lambda x: {"loss": x.sum()}])
def test_a_container_as_value_is_refused_rather_than_given_zeros(fn: Any) -> None:
    with pytest.raises(TypeError):
        grad(fn)(np.ones(2))


def test_a_value_that_lost_its_graph_under_no_grad_has_zeros() -> None:
    def fn(x: Tensor) -> Tensor:
        with no_grad():
            return (x * x).sum()

    np.testing.assert_array_equal(grad(fn)(np.ones(2)), [0, 0])


def test_tensors_that_the_function_captures_stay_as_they_are() -> None:
    w = Tensor([2.0, 3.0], requires_grad=True)
    h = w * 2
    np.testing.assert_array_equal(grad(lambda x: (x * w * h).sum())(np.array([1.0, 5.0])), [8, 18])
    assert w.grad is None
    h.sum().backward()  # its graph is not freed either
    np.testing.assert_array_equal(w.grad, [2, 2])
    np.testing.assert_array_equal(grad(lambda x: w.sum())(np.array([1.0, 5.0])), [0, 0])


def test_a_gradient_is_recorded_although_the_caller_is_in_no_grad() -> None:
    with no_grad():
        np.testing.assert_array_equal(grad(lambda x: (x * x).sum())(np.array([1.0, 5.0])), [2, 10])
        assert not (Tensor([1.0], requires_grad=True) * 2).requires_grad


def test_a_python_number_as_value_is_refused_because_its_gradient_is_lost() -> None:
    with pytest.raises(TypeError, match="grad: the function returned a float; expected a tensor"):
        grad(lambda x: float((x * x).sum()))(np.array([1.0, 5.0]))


def test_a_network_is_trained_with_it() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    labels = (x[:, 0] > x[:, 1]).astype(int)
    p = {"w": np.zeros((2, 3)), "b": np.zeros(2)}
    step = value_and_grad(lambda p: ops.cross_entropy(ops.linear(x, p["w"], p["b"]), labels))
    losses = []
    for _ in range(60):
        value, g = step(p)
        losses.append(float(value))
        p = {name: p[name] - g[name] for name in p}
    assert losses[0] == pytest.approx(np.log(2))
    assert losses[-1] < 0.2

"""The tape: gradients, no_grad, what goes in and comes out, and what it refuses."""

from __future__ import annotations

import threading
from typing import Any, Optional  # noqa: F401 (evaluated in an annotation)

import numpy as np
import pytest

import minigrad  # noqa: F401 (evaluated in an annotation)
from minigrad import Array, Tensor, gradcheck, no_grad, operation, ops

Alias = Array
AnArray = float


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values, np.float32), requires_grad=True)


def test_an_operation_made_outside_the_package_has_a_gradient() -> None:
    @operation
    def cube(a: Array):
        return a**3, lambda g: g * 3 * a**2

    x = leaf(2)
    cube(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [12])
    assert gradcheck(cube, np.array([0.5, -1.5]))


# Gradients.


def test_gradients_add_up_over_passes_until_forgotten() -> None:
    x = leaf(1, 2)
    loss = (x * 2).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_array_equal(x.grad, [4, 4])


@pytest.mark.parametrize(
    "fn", [lambda x: x + x, lambda x: x * x + x, lambda x: x + 1, lambda x: x], ids=["x+x", "x*x+x", "x+1", "x"]
)
def test_the_gradient_of_a_number_is_an_array(fn) -> None:
    x = Tensor(2.0, requires_grad=True)
    fn(x).backward()
    assert type(x.grad) is np.ndarray
    assert x.grad.shape == ()
    assert x.grad.dtype == np.float32


def test_gradients_share_no_memory_with_each_other_or_with_what_was_given() -> None:
    a, b, given = leaf(1, 1), leaf(1, 1), np.ones(2, np.float32)
    (a + b).backward(given)
    assert not np.shares_memory(a.grad, b.grad)
    assert not np.shares_memory(a.grad, given)
    a.grad += 1
    np.testing.assert_array_equal(b.grad, [1, 1])
    np.testing.assert_array_equal(given, [1, 1])


def test_a_gradient_may_be_given() -> None:
    x = leaf(1, 2)
    (x * x).backward([1, 10])
    np.testing.assert_array_equal(x.grad, [2, 40])


def test_only_leaves_keep_a_gradient() -> None:
    x = leaf(1)
    h = x * 2
    h.sum().backward()
    assert h.grad is None


def test_backward_of_a_leaf_is_one() -> None:
    x = leaf(5)
    x.backward()
    np.testing.assert_array_equal(x.grad, [1])


def test_the_gradient_of_an_operand_that_needs_none_is_never_computed() -> None:
    @operation
    def choosy(a: Array, b: Array):
        def never(_: np.ndarray) -> np.ndarray:
            raise AssertionError("a needs no gradient")

        return a * b, never, lambda g: g * a

    x, w = Tensor([1.0, 2.0]), leaf(3, 4)
    choosy(x, w).sum().backward()
    np.testing.assert_array_equal(w.grad, [1, 2])
    assert x.grad is None


def test_an_error_on_the_way_leaves_every_gradient_as_it_was() -> None:
    @operation
    def broken(a: Array):
        def back(_: np.ndarray) -> np.ndarray:
            raise ZeroDivisionError

        return a * 1, back

    x, y = leaf(1), leaf(1)
    with pytest.raises(ZeroDivisionError):
        (y * 2 + broken(x)).sum().backward()
    assert x.grad is None
    assert y.grad is None


@pytest.mark.parametrize(
    ("start", "error", "words"),
    [
        (lambda: Tensor([1.0]).backward(), RuntimeError, "does not require a gradient"),
        (lambda: (leaf(1, 2) * 2).backward(), ValueError, r"shape \(2,\)"),
        (lambda: (leaf(1, 2) * 2).backward([1.0]), ValueError, r"shape \(1,\); expected \(2,\)"),
    ],
)
def test_backward_says_where_it_cannot_start(start, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        start()


# no_grad.


def test_no_grad_records_nothing() -> None:
    x = leaf(1)
    with no_grad():
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_nests_and_ends_with_an_error() -> None:
    x = leaf(1)
    with no_grad():
        with no_grad():
            pass
        assert not (x * 2).requires_grad
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * 2).requires_grad


def test_no_grad_decorates_a_function_that_calls_itself() -> None:
    @no_grad()
    def double(x: Tensor, times: int) -> Tensor:
        return double(x * 2, times - 1) if times else x * 1

    x = leaf(1)
    assert not double(x, 3).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_is_of_one_thread() -> None:
    found = []
    with no_grad():
        thread = threading.Thread(target=lambda: found.append((leaf(1) * 2).requires_grad))
        thread.start()
        thread.join()
    assert found == [True]


def test_a_decorated_function_may_run_in_two_threads_at_once() -> None:
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    records = {}

    @no_grad()
    def wait(entered: threading.Event, leave: threading.Event) -> None:
        entered.set()
        leave.wait(10)

    def first() -> None:
        with no_grad():
            wait(first_in, second_in)
            records["within no_grad"] = (leaf(1) * 2).requires_grad
        first_out.set()

    def second() -> None:
        first_in.wait(10)
        wait(second_in, first_out)
        records["after no_grad"] = (leaf(1) * 2).requires_grad

    threads = [threading.Thread(target=f) for f in (first, second)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert records == {"within no_grad": False, "after no_grad": True}


# What goes in and what comes out.


def test_plain_arrays_in_plain_array_out() -> None:
    found = ops.multiply(np.array([1.0, 2.0]), 3)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, [3, 6])


def test_numbers_and_lists_become_float32_and_arrays_keep_their_dtype() -> None:
    assert Tensor([1, 2]).dtype == np.float32
    assert Tensor(1.5).dtype == np.float32
    assert Tensor(np.array([1.5])).dtype == np.float64
    assert Tensor(np.array([1])).dtype == np.int64
    assert ops.exp([1.0, 2.0]).dtype == np.float32


def test_a_result_takes_the_class_of_its_operands() -> None:
    class Mine(Tensor):
        __slots__ = ()

    assert type(Mine([1.0]) * 2) is Mine
    assert type(2 * Mine([1.0])) is Mine


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_integers_cannot_require_a_gradient(dtype: type) -> None:
    with pytest.raises(TypeError, match="can't require a gradient"):
        Tensor(np.ones(2, dtype), requires_grad=True)


@pytest.mark.parametrize("box", [list, tuple])
def test_a_tensor_in_a_list_is_refused(box: type) -> None:
    with pytest.raises(TypeError, match="would lose its gradient"):
        ops.add(leaf(1, 2), box([leaf(1), 2.0]))


def test_a_tensor_deep_in_a_list_is_refused() -> None:
    with pytest.raises(TypeError):
        ops.add(leaf(1, 2), [[leaf(1), 2.0]])


def test_a_tensor_made_of_tensors_is_refused() -> None:
    with pytest.raises(TypeError, match="would lose it"):
        Tensor([leaf(1), leaf(2)])


def test_a_tensor_as_an_option_is_refused() -> None:
    x, axis = leaf(1, 2), leaf(0)
    with pytest.raises(TypeError, match="gradient"):
        ops.softmax(x, axis)
    with pytest.raises(TypeError, match="gradient"):
        ops.softmax(x, axis=axis)


def test_an_operand_may_be_given_by_name() -> None:
    a, b = leaf(2), leaf(3)
    ops.multiply(a=a, b=b).sum().backward()
    np.testing.assert_array_equal(a.grad, [3])
    np.testing.assert_array_equal(b.grad, [2])


def test_a_rule_with_too_few_pullbacks_is_refused() -> None:
    @operation
    def half_done(a: Array, b: Array):
        return a * b, lambda g: g * b

    with pytest.raises(TypeError, match="1 pullbacks for 2 operands"):
        half_done(leaf(1), leaf(2))


def test_a_rule_that_forgot_its_pullbacks_is_refused() -> None:
    @operation
    def forgetful(a: Array):
        return a * 2  # an array of two, which would unpack into a value and a "pullback"

    with pytest.raises(TypeError, match="forgetful"):
        forgetful(leaf(1, 2))


def test_a_rule_without_operands_is_refused() -> None:
    with pytest.raises(TypeError, match="no operand"):

        @operation
        def nothing(a: float):
            return a, lambda g: g


def test_a_parameter_without_annotation_is_refused_where_the_rule_is_defined() -> None:
    with pytest.raises(TypeError, match="half_annotated: parameter b has no annotation; expected Array"):

        @operation
        def half_annotated(a: Array, b):
            return a * b, lambda g: g * b, lambda g: g * a


def test_a_misnamed_annotation_is_refused_where_the_rule_is_defined() -> None:
    with pytest.raises(TypeError, match="misnamed: an annotation can't be evaluated: name 'Arrray' is not defined"):

        @operation
        def misnamed(a: Arrray):  # noqa: F821
            return a, lambda g: g


def test_a_pullback_for_an_option_is_refused() -> None:
    @operation
    def mistaken(a: Array, b: np.ndarray):
        return a * b, lambda g: g * b, lambda g: g * a

    with pytest.raises(TypeError, match="2 pullbacks for 1 operands"):
        mistaken(leaf(1), np.ones(1))


def test_another_annotation_whose_name_contains_array_is_an_option() -> None:
    @operation
    def scaled(a: Array, factor: np.ndarray | AnArray):
        return a * factor, lambda g: g * factor

    with pytest.raises(TypeError, match="scaled: argument 2 has no gradient"):
        scaled(leaf(1), leaf(2))


@pytest.mark.parametrize(
    "annotation", ["Array", "Array | None", "Alias", "minigrad.Array", "Optional[Array]", Array, Array | None]
)
def test_an_operand_is_known_by_the_annotation_itself_whatever_its_name(annotation: Any) -> None:
    def double(a):
        return a * 2, lambda g: g * 2

    double.__annotations__["a"] = annotation
    x = leaf(1)
    operation(double)(x).backward()
    np.testing.assert_array_equal(x.grad, [2])


def test_surplus_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="2 positional arguments but 3 were given"):
        ops.add(leaf(1), leaf(2), leaf(3))


def test_an_array_on_the_left_leaves_the_operator_to_the_tensor() -> None:
    x = leaf(1, 2)
    y = np.array([3, 4], np.float32) * x
    assert type(y) is Tensor
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 4])


def test_a_tensor_without_a_gradient_is_an_array_to_numpy() -> None:
    np.testing.assert_array_equal(np.asarray(leaf(1, 2).detach()), [1, 2])


def test_detach_cuts_the_graph() -> None:
    x = leaf(3)
    (x * x.detach()).sum().backward()
    np.testing.assert_array_equal(x.grad, [3])


def test_a_tensor_shows_its_shape_its_dtype_and_itself() -> None:
    x = Tensor(np.zeros((2, 3)), requires_grad=True)
    assert (x.shape, x.ndim, x.size, x.dtype, len(x), x.T.shape) == ((2, 3), 2, 6, np.float64, 2, (3, 2))
    assert repr(leaf(1)) == "Tensor([1.], dtype=float32, requires_grad=True)"
    assert Tensor(1.5).item() == 1.5
    assert [t.item() for t in Tensor([1.0, 2.0])] == [1, 2]

"""Mistakes in rules and in the use of tensors: each is refused in a sentence, or does what the user means."""

from __future__ import annotations

import asyncio
import copy
import operator
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from minigrad import Array, Tensor, detect_anomaly, gradcheck, no_grad, operation, ops


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values, np.float32), requires_grad=True)


# What a pullback returns.


def recorded(pullback: Any, x: np.ndarray, value: Callable[[np.ndarray], Any] = lambda a: a * 1) -> Tensor:
    @operation
    def rule(b: Array, a: Array):
        return value(a), lambda g: g, pullback

    return rule(1.0, Tensor(x, requires_grad=True))


@pytest.mark.parametrize(
    ("shape", "result", "words"),
    [
        ((2,), np.ones(5), r"returned shape \(5,\); expected \(2,\)"),
        ((2,), np.ones(1), r"returned shape \(1,\); expected \(2,\)"),
        ((2,), np.ones(()), r"returned shape \(\); expected \(2,\)"),
        ((2,), 1.0, r"returned shape \(\); expected \(2,\)"),
        ((2, 3), np.ones((3, 2)), r"returned shape \(3, 2\); expected \(2, 3\)"),
        ((2, 3), np.ones(3), r"returned shape \(3,\); expected \(2, 3\)"),
        ((2, 3), np.ones((2, 1)), r"returned shape \(2, 1\); expected \(2, 3\)"),
        ((1, 3), np.ones(3), r"returned shape \(3,\); expected \(1, 3\)"),
        ((), np.ones(3), None),
        ((1, 3), np.ones((2, 3)), None),
        ((3,), np.ones((4, 2, 3)), None),
        ((2,), [1, 2], None),
        ((), 1, None),
        ((2,), np.ones(2, np.int8), None),
    ],
    ids=str,
)
def test_the_shape_of_a_gradient_is_checked(shape: tuple[int, ...], result: Any, words: str | None) -> None:
    y = recorded(lambda g: result, np.ones(shape, np.float32))
    if words is None:
        y.sum().backward()
        return
    with pytest.raises(ValueError, match=f"rule: the pullback of operand a {words}"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (None, "NoneType"),
        ("1", "str"),
        (1j, "complex"),
        (np.ones(2) * 1j, "dtype complex128"),
        (np.array([None, 1]), "dtype object"),
        (np.array(["a", "b"]), "dtype <U1"),
        (np.array(["2020", "2021"], "M8[Y]"), "dtype datetime64"),
        ({}, "dict"),
    ],
    ids=str,
)
def test_the_elements_of_a_gradient_are_checked(result: Any, kind: str) -> None:
    for shape in ((), (2,)):
        y = recorded(lambda g: result, np.ones(shape))
        with pytest.raises(
            TypeError, match=f"rule: the pullback of operand a is of {kind}.*; expected an array of real"
        ):
            y.sum().backward()


@pytest.mark.parametrize("pullback", [None, np.ones(2), 3], ids=str)
def test_a_pullback_is_a_function(pullback: Any) -> None:
    with pytest.raises(TypeError, match=r"rule: the pullback of operand a is .*; expected a function"):
        recorded(pullback, np.ones(2)).sum().backward()


@pytest.mark.parametrize("kind", [TypeError, ValueError, IndexError])
def test_an_error_of_a_pullback_names_the_operand(kind: type[Exception]) -> None:
    def wrong(g: np.ndarray) -> np.ndarray:
        raise kind("mine")

    with pytest.raises(kind, match=r"^rule: the pullback of operand a: mine$") as raised:
        recorded(wrong, np.ones(2)).sum().backward()
    assert str(raised.value.__cause__) == "mine"


def test_an_operand_without_a_name_has_a_number() -> None:
    @operation
    def rule(*arrays: Array):
        return arrays[0] + arrays[1], lambda g: g, lambda g: None

    y = rule(1.0, Tensor([1.0], requires_grad=True))
    with pytest.raises(TypeError, match="rule: the pullback of operand 2 is of NoneType"):
        y.sum().backward()


@pytest.mark.parametrize("value", [lambda a: a > 0, lambda a: a.astype(int), lambda a: a * 1j], ids=str)
def test_a_value_that_is_not_floating_has_no_gradient(value: Any) -> None:
    y = recorded(lambda g: g, np.ones(2), value)
    with pytest.raises(TypeError, match="can't require a gradient; expected a floating dtype"):
        y.backward(np.ones(2))
    with pytest.raises(TypeError, match=r"can't require a gradient|expected real numbers"):
        (y * 1.0).sum().backward()


@pytest.mark.parametrize("gradient", [np.ones(2) * 1j, ["a", "b"], [None, 1]], ids=str)
def test_the_gradient_of_the_root_is_checked(gradient: Any) -> None:
    with pytest.raises(TypeError, match=r"backward: the gradient is of .*; expected an array of real numbers"):
        (leaf(1, 2) * 2).backward(gradient)


@pytest.mark.parametrize(
    "other", [1j, np.ones(2) * 1j, "a", np.array(["a", "b"]), np.array(["2020"], "M8[Y]")], ids=str
)
def test_operands_are_real_numbers(other: Any) -> None:
    with pytest.raises(TypeError, match=r"multiply: .*expected real numbers"):
        ops.multiply(leaf(1, 2), other)


@pytest.mark.parametrize("data", ["a", np.array(["a"]), np.ones(2) * 1j, np.array([None]), None, {}], ids=str)
def test_a_tensor_holds_real_numbers(data: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Tensor(data)


# Rules and calls.


def test_a_keyword_only_operand_is_refused() -> None:
    with pytest.raises(TypeError, match=r"operation: scaled: parameter b is keyword-only; expected operands that"):

        @operation
        def scaled(a: Array, *, b: Array):
            return a * b, lambda g: g * b, lambda g: g * a


@pytest.mark.parametrize("kind", ["*rest: Array", "*rest: int", "**rest: Array"])
def test_a_variable_number_of_arguments_after_an_operand_is_refused(kind: str) -> None:
    namespace: dict[str, Any] = {"Array": Array}
    exec(f"def rule(a: Array, {kind}): return a, lambda g: g", namespace)
    with pytest.raises(TypeError, match="operation: rule: parameter rest is variadic"):
        operation(namespace["rule"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: ops.add(x), "missing 1 required positional argument: 'b'"),
        (lambda x: ops.add(), "missing 2 required positional arguments"),
        (lambda x: ops.add(x, x, x), "takes 2 positional arguments but 3 were given"),
        (lambda x: ops.add(x, c=x), r"argument.*'c'"),
        (lambda x: ops.sum(x, dim=0), "unexpected keyword argument 'dim'"),
        (lambda x: ops.multiply(x, a=x), r"argument.*'a'"),
        (lambda x: ops.linear(input=x), "missing.* 'weight'"),
        (lambda x: ops.add(x, None), "add: b is None; expected an array or a number"),
        (lambda x: ops.linear(x, None), "linear: weight is None"),
        (lambda x: ops.exp(None), "exp: a is None"),
    ],
)
def test_wrong_arguments_are_named(call: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call(leaf(1, 2))


# Changes in place.

IN_PLACE = [operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow]


@pytest.mark.parametrize("change", IN_PLACE, ids=lambda f: f.__name__)
def test_an_in_place_operator_changes_the_tensor_itself(change: Any) -> None:
    w = leaf(2, 4)
    before, expected = w, change(np.array([2, 4], np.float32), np.float32(2))
    array = w.data
    with no_grad():
        w = change(w, 2.0)
    assert w is before
    assert w.data is array
    assert w.requires_grad
    np.testing.assert_array_equal(w.data, expected)


def test_a_training_step_written_with_minus_equals_trains() -> None:
    w = leaf(1, 2)
    for _ in range(3):
        w.grad = None
        (w * w).sum().backward()
        with no_grad():
            w -= 0.25 * w.grad
    np.testing.assert_array_equal(w.data, [0.125, 0.25])


def test_the_other_in_place_operators() -> None:
    a, b = Tensor(np.eye(2) * 2), Tensor(np.ones((2, 2)))
    a @= b
    np.testing.assert_array_equal(a.data, np.full((2, 2), 2))
    a[0] = 5
    a[:, Tensor(np.array([1]))] = Tensor([[7.0], [8.0]])
    np.testing.assert_array_equal(a.data, [[5, 7], [2, 8]])
    a[0] += 1
    np.testing.assert_array_equal(a.data, [[6, 8], [2, 8]])
    n = Tensor(np.array([1, 2]))
    n += 1
    np.testing.assert_array_equal(n.data, [2, 3])


@pytest.mark.parametrize("change", [*IN_PLACE, operator.imatmul], ids=lambda f: f.__name__)
def test_what_would_have_to_be_recorded_is_refused(change: Any) -> None:
    w = leaf(1, 2)
    with pytest.raises(RuntimeError, match=r"this tensor requires a gradient.*no_grad"):
        change(w, w.data)
    with pytest.raises(RuntimeError, match=r"a result of 'multiply'.*x = x"):
        change(w * 2, w.data)
    with pytest.raises(RuntimeError, match="the right side requires a gradient"):
        change(w.detach(), w)
    np.testing.assert_array_equal(w.data, [1, 2])


def test_an_assignment_that_would_have_to_be_recorded_is_refused() -> None:
    w = leaf(1, 2)
    for x, value in [(w, 3), (w * 2, 3), (w.detach(), w[0])]:
        with pytest.raises(RuntimeError, match=r"\[index\] =: .* can't be recorded"):
            x[0] = value


@pytest.mark.parametrize(
    ("dtype", "change", "error", "words"),
    [
        ("f4", lambda x: operator.iadd(x, np.ones((3, 2))), ValueError, r"\+=: .*shape \(2,\).*shape \(3, 2\)"),
        ("f4", lambda x: operator.imul(x, np.ones(3)), ValueError, r"\*=: .*shape \(2,\).*shape \(3,\)"),
        ("f4", lambda x: operator.imatmul(x, np.ones((2, 3))), ValueError, "@=: .*shape"),
        ("i8", lambda x: operator.iadd(x, 0.5), TypeError, r"\+=: .*dtype int64.*float"),
        ("i8", lambda x: operator.itruediv(x, 2), TypeError, "/=: .*dtype int64"),
        ("f4", lambda x: operator.iadd(x, 1j), TypeError, r"\+=: .*complex"),
        ("f4", lambda x: operator.iadd(x, None), TypeError, r"\+="),
        ("i8", lambda x: operator.setitem(x, 0, 0.5), TypeError, "int64 can't hold .*float64"),
        ("f4", lambda x: operator.setitem(x, 0, [1, 2]), ValueError, r"shape \(2,\)"),
        ("f4", lambda x: operator.setitem(x, 5, 1), IndexError, "out of bounds"),
    ],
)
def test_shape_and_dtype_are_kept(dtype: str, change: Any, error: type[Exception], words: str) -> None:
    x = Tensor(np.array([1, 2], dtype))
    with pytest.raises(error, match=words):
        change(x)
    np.testing.assert_array_equal(x.data, np.array([1, 2], dtype))


def test_a_tensor_that_requires_a_gradient_owns_its_array() -> None:
    start = np.asfortranarray(np.ones((2, 3), np.float32))
    w, x = Tensor(start, requires_grad=True), Tensor(start)
    assert w.data.flags.f_contiguous
    with no_grad():
        w -= 1
    np.testing.assert_array_equal(start, np.ones((2, 3)))
    assert x.data is start
    x.requires_grad = True
    with no_grad():
        x -= 1
    np.testing.assert_array_equal(start, np.ones((2, 3)))
    assert w.detach().data is w.data


def test_requires_grad_can_be_switched_on_leaves_only() -> None:
    x = Tensor([1.0, 2.0])
    x.requires_grad = True
    y = x * 2
    with pytest.raises(RuntimeError, match="a result of 'multiply'"):
        y.requires_grad = False
    x.requires_grad = False
    y.sum().backward()
    assert x.grad is None
    with pytest.raises(TypeError, match="int64 can't require a gradient"):
        Tensor(np.array([1])).requires_grad = True


def test_data_can_be_replaced_and_keeps_shape_and_dtype() -> None:
    w, new = leaf(1, 2), np.array([3.0, 4.0])
    w.data = new
    assert w.dtype == np.float32
    w.data -= 1
    np.testing.assert_array_equal(w.data, [2, 3])
    np.testing.assert_array_equal(new, [3, 4])
    for wrong in (np.ones(3), [1], np.ones(2) * 1j, None, "ab"):
        with pytest.raises(ValueError, match=r"data: .*expected \(2,\), float32"):
            w.data = wrong


# Modes.


@pytest.mark.parametrize("decorator", [no_grad, no_grad()], ids=["no_grad", "no_grad()"])
def test_no_grad_decorates_with_and_without_parentheses(decorator: Any) -> None:
    @decorator
    def double(x: Tensor) -> Tensor:
        """Twice x."""
        return x * 2

    assert not double(leaf(1)).requires_grad
    assert (double.__name__, double.__doc__) == ("double", "Twice x.")
    assert (leaf(1) * 2).requires_grad


def test_one_object_may_be_used_again_inside_itself_and_in_threads() -> None:
    guard, entered, leave, records = no_grad(), threading.Event(), threading.Event(), []

    def other() -> None:
        with guard:
            entered.set()
            leave.wait(10)
            records.append((leaf(1) * 2).requires_grad)
        records.append((leaf(1) * 2).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    with guard:
        with guard:
            pass
        leave.set()
        thread.join()
        assert not (leaf(1) * 2).requires_grad
    assert (leaf(1) * 2).requires_grad
    assert records == [False, True]


def test_a_generator_runs_in_no_grad_but_its_caller_does_not() -> None:
    @no_grad()
    def values(x: Tensor) -> Iterator[Any]:
        try:
            sent = yield (x * 2).requires_grad
            yield (sent, (x * 2).requires_grad)
            yield None
        except KeyError:
            yield ("caught", (x * 2).requires_grad)
        finally:
            ended.append((x * 2).requires_grad)

    ended: list[bool] = []
    x = leaf(1)
    generator = values(x)
    assert next(generator) is False
    assert (x * 2).requires_grad
    assert generator.send("sent") == ("sent", False)
    assert generator.throw(KeyError()) == ("caught", False)
    assert (x * 2).requires_grad
    generator.close()
    assert list(values(x)) == [False, (None, False), None]
    assert ended == [False, False]


@pytest.mark.parametrize("mode", [no_grad, detect_anomaly])
def test_only_functions_without_async_are_decorated(mode: Any) -> None:
    async def coroutine() -> None:
        await asyncio.sleep(0)

    async def generator() -> AsyncIterator[int]:
        yield 1

    class Model:
        pass

    for fn in (coroutine, generator):
        for decorator in (mode, mode()):
            with pytest.raises(TypeError, match=rf"{mode.__name__}: {fn.__name__} is an async function.*with"):
                decorator(fn)
    for wrong in (Model, leaf(1), staticmethod(len), 3):
        with pytest.raises(TypeError, match=f"{mode.__name__}: expected a function"):
            mode(wrong)


# What users type.


def test_a_tensor_of_one_element_is_a_number() -> None:
    x = Tensor([1.5], requires_grad=True)
    assert (float(x), int(x), complex(x), f"{x:.3f}", x.item()) == (1.5, 1, 1.5 + 0j, "1.500", 1.5)
    for convert in (float, int, complex, lambda t: f"{t:.2f}", Tensor.item):
        with pytest.raises(ValueError, match=r"shape \(2,\) has 2 elements; expected 1"):
            convert(Tensor([1.0, 2.0]))
    assert [10, 20, 30][Tensor(np.array(1))] == 20
    with pytest.raises(TypeError):
        [10, 20, 30][Tensor(1.0)]


def test_a_tensor_is_a_sequence_and_a_number_is_none() -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert [row.tolist() for row in x] == x.tolist() == [[1, 2], [3, 4]]
    a, b = x
    (a * b).sum().backward()
    np.testing.assert_array_equal(x.grad, [[3, 4], [1, 2]])
    assert 2.0 in x
    assert 5.0 not in x
    for use in (len, iter, list):
        with pytest.raises(TypeError):
            use(Tensor(1.0))
    assert Tensor(1.5).tolist() == 1.5


def test_a_result_names_its_operation() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    assert repr(y) == f"{y}" == "Tensor([2., 4.], dtype=float32, op=multiply)"
    y.sum().backward()
    assert repr(y) == "Tensor([2., 4.], dtype=float32, op=multiply)"
    assert repr(y.detach()) == "Tensor([2., 4.], dtype=float32)"


def test_the_gradient_of_a_result_can_be_retained() -> None:
    x = leaf(1, 2)
    y = x * 3
    y.retain_grad()
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    y.sum().backward(retain_graph=True)
    np.testing.assert_array_equal(y.grad, [10, 10])
    y.sum().backward()
    np.testing.assert_array_equal(y.grad, [20, 20])
    x.retain_grad()
    with pytest.raises(RuntimeError, match="retain_grad: this tensor does not require a gradient"):
        x.detach().retain_grad()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (np.sin, r"minigrad\.sin"),
        (np.mean, r"use minigrad\.mean"),
        (lambda x: np.concatenate([x, x]), r"use minigrad\.concatenate"),
        (lambda x: np.linalg.norm(x), r"use minigrad\.norm"),
        (np.median, r"numpy\.median would lose the gradient.*\.data or \.detach\(\)"),
        (np.zeros_like, r"\.data or \.detach\(\)"),
    ],
)
def test_numpy_names_the_function_to_use(call: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call(leaf(1, 2))


def test_numpy_reads_a_tensor_without_a_gradient_and_every_shape() -> None:
    x = Tensor([1.0, 4.0])
    np.testing.assert_array_equal(np.sqrt(x), [1, 2])
    np.testing.assert_array_equal(np.concatenate([x, x]), [1, 4, 1, 4])
    assert np.mean(x) == 2.5
    assert (np.shape(leaf(1, 2)), np.ndim(leaf(1, 2)), np.size(leaf(1, 2))) == ((2,), 1, 2)


@pytest.mark.parametrize("apply", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow], ids=str)
@pytest.mark.parametrize("left", [np.array([2.0, 3.0], np.float32), np.float32(2), np.float64(2)], ids=repr)
def test_an_operator_with_an_array_on_the_left_is_recorded(apply: Any, left: Any) -> None:
    assert apply(left, leaf(1, 2)).requires_grad
    value = left
    value = {"add": operator.iadd, "mul": operator.imul}.get(apply.__name__, apply)(value, leaf(1, 2))
    assert value.requires_grad


def test_python_functions_survive_an_import_of_everything() -> None:
    code = "from minigrad import *; assert sum([1, 2]) == 3 and max(1, 2) == 2 and abs(-1) == 1; exp, Tensor"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_copies_are_leaves_with_arrays_of_their_own() -> None:
    x = Tensor(np.asfortranarray(np.ones((2, 3))), requires_grad=True)
    for copied in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert copied.requires_grad
        assert not np.shares_memory(copied.data, x.data)
        np.testing.assert_array_equal(copied.data, x.data)


def test_concatenate_without_an_axis_flattens() -> None:
    a, b = Tensor(np.ones((2, 2)), requires_grad=True), Tensor(np.ones(3), requires_grad=True)
    y = ops.concatenate([a, b], axis=None)
    assert y.shape == (7,)
    (y * np.arange(7.0)).sum().backward()
    np.testing.assert_array_equal(a.grad, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(b.grad, [4, 5, 6])


# gradcheck.


@operation
def total(a: Array):
    return np.sum(a), lambda g: g  # wrong on purpose: of another shape


@operation
def partly(a: Array):
    return a * 1, lambda g: g * np.array([1, 3, 2])  # wrong on purpose at index 1


@pytest.mark.parametrize(
    ("fn", "inputs", "error", "words"),
    [
        (total, [np.ones(3)], ValueError, r"total: the pullback of operand a returned shape \(\); expected \(3,\)"),
        (partly, [np.zeros(3)], AssertionError, r"input 0: 2 of 3 elements differ; at \(1,\), backward computed"),
        (lambda n: n, [np.array([1, 2])], ValueError, "no input is an array of floats"),
        (lambda n: n, [3, "a", None], ValueError, "no input is an array of floats"),
        (lambda: Tensor(1.0), [], ValueError, "no input is an array of floats"),
        (lambda x: float(x.sum()), [np.ones(2)], TypeError, "returned a float; expected a tensor"),
        (lambda x: (x, x), [np.ones(2)], TypeError, "returned a tuple; expected a tensor"),
        (lambda x: x.data, [np.ones(2)], TypeError, "returned a ndarray; expected a tensor"),
        (lambda x: x.detach() * 2, [np.ones(2)], ValueError, "does not require a gradient"),
        (lambda x: ops.dropout(x), [np.ones(50)], ValueError, "two results for the same inputs"),
        (lambda x: x * np.nan, [np.ones(2)], AssertionError, r"at \(0,\), backward computed nan"),
    ],
)
def test_gradcheck_says_what_is_wrong(fn: Any, inputs: list[Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        gradcheck(fn, *inputs)


def test_gradcheck_notices_a_changed_input() -> None:
    def shift(x: Tensor) -> Tensor:
        y = x * 2
        x.data[...] = 0
        return y

    with pytest.raises(ValueError, match=r"gradcheck: .*(changed input 0|two results)"):
        gradcheck(shift, np.ones(2))


def test_gradcheck_changes_no_captured_tensor_and_accepts_tensors_and_float32() -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    assert gradcheck(lambda x: x * w, np.ones(2, np.float32))
    assert gradcheck(lambda x: x * w, leaf(1, 2))
    assert gradcheck(lambda x: x * x, 2.0)
    assert w.grad is None

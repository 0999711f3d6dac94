"""detect_anomaly: the first NaN or infinity is an error that names the operation and the line that called it."""

from __future__ import annotations

import inspect
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Array, Tensor, detect_anomaly, no_grad, operation, ops

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values, np.float32), requires_grad=True)


def here(offset: int = 0) -> str:
    """`file:line` of the caller, `offset` lines on."""
    frame = inspect.currentframe().f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno + offset}"


def message(call: Any) -> str:
    with pytest.raises(FloatingPointError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "call", "what"),
    [
        ("log", lambda: leaf(1, -1).log(), "nan at (1,)"),
        ("log", lambda: ops.log(np.array([[1.0, 0.0]])), "-inf at (0, 1)"),
        ("divide", lambda: leaf(1) / 0.0, "inf at (0,)"),
        ("exp", lambda: Tensor(1e4).exp(), "inf at ()"),
        ("mean", lambda: ops.mean(np.zeros((0, 2), np.float32), 0), "nan at (0,)"),
    ],
)
def test_a_bad_value_is_an_error_that_names_operation_and_place(name: str, call: Any, what: str) -> None:
    with detect_anomaly():
        text = message(call)
    assert text.startswith(f"{name}: {what} in the value")
    assert "finite" in text


def test_a_bad_value_names_the_line_that_called_the_operation() -> None:
    x = leaf(0, 1)
    with detect_anomaly():
        line, text = here(), message(lambda: ops.log(x))  # on one line
    assert text.endswith(f"called at {line}")


def test_the_line_is_the_callers_also_through_an_operator_and_a_method() -> None:
    for call in (lambda x: 1 / x, lambda x: x.log(), lambda x: ops.take(x / 0.0, [0])):
        with detect_anomaly():
            text = message(lambda: call(leaf(0, 1)))  # noqa: B023
        assert f"called at {__file__}:" in text


def test_the_line_is_outside_the_package_also_for_a_file_whose_name_begins_like_it() -> None:
    beside = str(Path(minigrad.__file__).parent) + "_of_mine/script.py"
    space: dict[str, Any] = {"ops": ops, "x": leaf(0)}
    with detect_anomaly():
        text = message(lambda: exec(compile("\n\nops.log(x)", beside, "exec"), space))
    assert text.endswith(f"called at {beside}:3")


def test_an_operand_that_was_bad_already_is_said() -> None:
    bad = Tensor(np.array([1, np.nan], np.float32))
    with detect_anomaly():
        text = message(lambda: leaf(1, 2) * bad)
    assert text.startswith("multiply: nan at (1,) in the value; operand b contained one already")


def test_a_bad_gradient_names_the_operation_and_the_line_that_recorded_it() -> None:
    x = leaf(0, 1)
    with detect_anomaly():
        line = here(1)
        root = x.sqrt()
        text = message(lambda: (root * 2).sum().backward())
    assert text.startswith("sqrt: inf at (0,) in the gradient of an operand")
    assert "the gradient of its value was finite" in text
    assert text.endswith(f"called at {line}")
    assert x.grad is None


def test_a_gradient_that_came_bad_is_said() -> None:
    x = leaf(1, 1)
    with detect_anomaly():
        y = x * 2
        text = message(lambda: y.backward([1, np.inf]))
    assert text.startswith(
        "multiply: inf at (1,) in the gradient of an operand; the gradient of its value contained one already"
    )


def test_a_graph_recorded_outside_is_looked_at_too_but_its_line_is_unknown() -> None:
    x = leaf(0)
    loss = x.sqrt().sum()
    with detect_anomaly():
        text = message(loss.backward)
    assert text.startswith("sqrt: inf")
    assert "line is unknown" in text


def test_a_graph_recorded_inside_is_not_looked_at_outside() -> None:
    x = leaf(0)
    with detect_anomaly():
        loss = x.sqrt().sum()
    loss.backward()
    np.testing.assert_array_equal(x.grad, [np.inf])


def test_what_is_finite_passes() -> None:
    x = leaf(1, 2)
    with detect_anomaly():
        (x.log() * 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 1])


def test_results_of_other_kinds_pass() -> None:
    with detect_anomaly():
        assert ops.getitem(np.array(["a", "b"]), 0) == "a"
        assert ops.reshape(np.array([True, False]), (2, 1)).shape == (2, 1)


def test_values_are_looked_at_where_nothing_is_recorded() -> None:
    with detect_anomaly(), no_grad():
        assert message(lambda: leaf(0).log()).startswith("log: -inf")


def test_an_operation_of_ones_own_is_looked_at() -> None:
    @operation
    def broken(a: Array):
        return a * 1, lambda g: g * np.nan

    with detect_anomaly():
        y = broken(leaf(1)).sum()
        assert message(y.backward).startswith("broken: nan")


# The switch.


def test_it_is_off_again_afterwards() -> None:
    with detect_anomaly():
        pass
    assert leaf(0).log().item() == -np.inf


def test_it_is_off_again_after_an_error() -> None:
    with detect_anomaly():
        message(lambda: leaf(0).log())
    with pytest.raises(FloatingPointError), detect_anomaly():
        leaf(0).log()
    assert leaf(0).log().item() == -np.inf


def test_it_nests() -> None:
    with detect_anomaly():
        with detect_anomaly():
            pass
        message(lambda: leaf(0).log())
    assert leaf(0).log().item() == -np.inf


def test_it_decorates_a_function() -> None:
    @detect_anomaly()
    def log(x: Tensor, times: int) -> Tensor:
        return log(x, times - 1) if times else x.log()

    text = message(lambda: log(leaf(0), 2))
    assert text.startswith("log: -inf")
    assert leaf(0).log().item() == -np.inf
    assert log(leaf(1), 2).item() == 0


def test_it_is_of_one_thread() -> None:
    found = []
    with detect_anomaly():
        thread = threading.Thread(target=lambda: found.append(leaf(0).log().item()))
        thread.start()
        thread.join()
    assert found == [-np.inf]

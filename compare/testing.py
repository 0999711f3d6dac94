"""Assertions for tests with pytest or another runner."""

from __future__ import annotations

from typing import Any

from .porting.result import DiffResult

__all__ = ["assert_models_match"]


def assert_models_match(left: str, right: str, **options: Any) -> DiffResult:
    """Check that two models of PyTorch or Keras are equal.

    Args:
        left: the left model, such as `torch:port.py:model`.
        right: the right model, such as `keras:original.py:model`.
        options: those of `compare.diff`, such as `copy_weights="left"`.

    Returns:
        The result of the comparison.

    Raises:
        AssertionError: the models differ; the message is the report of `python -m compare diff`.
        UserError: a side or an option cannot be used.

    Example:
        def test_the_port() -> None:
            assert_models_match("torch:port.py:model", "keras:original.py:model", copy_weights="right")
    """
    from .porting.api import diff
    from .porting.report import terminal

    result = diff(left, right, **options)
    if not result.equal:
        raise AssertionError(f"the models differ\n{terminal(result)}")
    return result

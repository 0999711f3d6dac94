"""The relative errors of the operations in float32 are those of the documentation."""

from __future__ import annotations

import json

import pytest

from benchmarks import accuracy

DOCUMENTED = {row["operation"]: row for row in json.loads(accuracy.OUT.read_text(encoding="utf-8"))["errors"]}


def test_every_measured_operation_is_documented() -> None:
    assert [*DOCUMENTED] == [*accuracy.ELEMENTWISE, *accuracy.ALONG]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_errors_in_float32_are_at_most_twice_the_documented_ones(name: str) -> None:
    # NumPy and BLAS choose other instructions on another processor, which round differently.
    value, gradient = accuracy.measure(name)
    assert value <= 2 * DOCUMENTED[name]["value"]
    assert gradient <= 2 * DOCUMENTED[name]["gradient"]

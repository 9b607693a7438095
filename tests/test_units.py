"""Quantities as text."""

import pytest

from ltbench.units import duration, mebibytes


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.42, "1.4 s"), (59.9, "59.9 s"), (125, "2 min 05 s"), (12_000, "3 h 20 min")]
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_memory_is_in_mebibytes() -> None:
    assert mebibytes(123.4 * 2**20) == "123 MiB"

"""Every benchmark times one side; the other side is timed before each of its rounds."""

import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.in_turn import in_turn


class Stopwatch:
    """What ``in_turn`` uses of pytest-benchmark's fixture."""

    def __init__(self) -> None:
        self.extra_info: dict[str, Any] = {}

    def pedantic(self, target: Callable[[], object], setup: Callable[[], None], rounds: int) -> None:
        times = []
        for _ in range(rounds):
            setup()
            started = time.perf_counter()
            target()
            times.append(time.perf_counter() - started)
        self.stats = SimpleNamespace(stats=SimpleNamespace(median=statistics.median(times)))


def test_sides_are_timed_in_turn_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    stopwatch = Stopwatch()
    in_turn(
        stopwatch,
        lambda: calls.append("side"),
        lambda: calls.append("other"),
        rounds=2,
        prepare=lambda: calls.append("prepare"),
    )
    assert calls == ["other", "prepare", "side"] * 3
    assert len(stopwatch.extra_info["other_seconds"]) == 2
    assert stopwatch.extra_info["over"] == "plain loop"


def test_the_ratio_is_that_of_one_side_to_the_other_whatever_preparing_takes() -> None:
    stopwatch = Stopwatch()
    sleep = time.sleep
    ratio = in_turn(stopwatch, lambda: sleep(0.2), lambda: sleep(0.1), 3, prepare=lambda: sleep(0.05))
    assert ratio == pytest.approx(2, rel=0.3)
    assert stopwatch.extra_info["ratio"] == ratio

"""Times one side of a benchmark, in turn with the side that it is compared with."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from ltbench.runner.environment import environment

CPU = torch.device("cpu")
Work = Callable[[], object]
"""Does something once; returns when it is done."""


def seconds_of(work: Work) -> float:
    """Of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(
    benchmark: Any,
    side: Work,
    other: Work,
    rounds: int,
    over: str = "plain loop",
    device: torch.device = CPU,
    prepare: Callable[[], Any] = lambda: None,
) -> float:
    """Time a side by pytest-benchmark, and the other one before each of its rounds. The first round does not count.

    Args:
        benchmark: the fixture; its times are those of ``side`` alone.
        side, other: what is measured. Work on a GPU must be waited for.
        rounds: how often each is measured.
        over: name of the other side.
        device: where they run.
        prepare: is called before each round of ``side``; it is not timed.

    Returns:
        The ratio: median time of the side over that of the other. ``extra_info`` has it, too.
    """
    times = []

    def before() -> None:
        times.append(seconds_of(other))
        prepare()

    before()
    side()
    times.clear()
    benchmark.pedantic(side, setup=before, rounds=rounds)
    ratio = float(benchmark.stats.stats.median) / statistics.median(times)
    benchmark.extra_info.update(ratio=ratio, over=over, other_seconds=times, **vars(environment(device)))
    return ratio

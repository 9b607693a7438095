"""Several runs at once against one after the other: ``pytest benchmarks/test_packing.py -s [--device cuda]``."""

import functools
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import torch

from benchmarks.sides import CPU, started
from benchmarks.steps import Steps, noise, side_by_side
from ltbench.engine.process import prepare
from ltbench.method.contract import Method
from ltbench.plan.recipe import RECIPES
from ltbench.runner.environment import environment

COUNT = 5


def worker(threads: int) -> Callable[[], float]:
    """A process of so many threads; called, it trains a few steps and tells the seconds of one."""
    prepare()
    torch.set_num_threads(threads)
    return Steps(Method(), noise(100, 10), RECIPES["ldam"], CPU, count=COUNT).seconds


def test_workers_of_one_thread_on_a_cpu(benchmark: Any, rounds: int, device: torch.device) -> None:
    """As many single-threaded workers as cores, against one worker with all of them, in turn: steps a second in all."""
    if device.type != "cpu":
        pytest.skip("for a CPU")
    cores = torch.get_num_threads() if not hasattr(os, "sched_getaffinity") else len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        many = [stack.enter_context(started(functools.partial(worker, 1))) for _ in range(cores)]
        single = stack.enter_context(started(functools.partial(worker, cores)))
        pool = stack.enter_context(ThreadPoolExecutor(cores))

        def packed() -> float:
            seconds: list[float] = list(pool.map(lambda measure: measure(), many))
            return sum(1 / each for each in seconds)

        packed(), single()
        times = [(packed(), 1 / single()) for _ in range(rounds)]
        benchmark.pedantic(packed, rounds=1)
    ratio = statistics.median(a for a, _ in times) / statistics.median(b for _, b in times)
    benchmark.extra_info.update(cores=cores, ratio=ratio, steps_per_second=times, **vars(environment(device)))
    print(f"\n{cores} single-threaded workers: {ratio:.2f} x the steps of one with {cores} threads", flush=True)


@pytest.mark.parametrize("runs", [2, 4, 8])
def test_graphs_on_streams_of_a_gpu(benchmark: Any, rounds: int, device: torch.device, runs: int) -> None:
    """So many captured runs in one process, each on a stream of its own, against one alone, in turn."""
    if device.type != "cuda":
        pytest.skip("needs a GPU")
    prepare()
    data = noise(100, 108)

    def speed(at_once: int) -> float:
        makes = [
            functools.partial(Steps, Method(), data, RECIPES["ldam"], device, "graph", seed, 80)
            for seed in range(at_once)
        ]
        return side_by_side(makes, 5, device)[0]

    times = [(speed(runs), speed(1)) for _ in range(rounds)]
    ratio = statistics.median(a for a, _ in times) / statistics.median(b for _, b in times)
    benchmark.pedantic(speed, (runs,), rounds=1)
    benchmark.extra_info.update(runs=runs, ratio=ratio, steps_per_second=times, **vars(environment(device)))
    print(f"\n{runs} runs together: {ratio:.2f} x the steps of one", flush=True)

"""Several runs at once against one after the other: ``pytest benchmarks/test_packing.py -s [--device cuda]``."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import torch

from benchmarks.in_turn import CPU, in_turn
from benchmarks.sides import Side, started
from benchmarks.steps import Steps, noise, side_by_side
from ltbench.engine.process import prepare
from ltbench.method.contract import Method
from ltbench.plan.recipe import RECIPES

COUNT = 5
STEPS, EPOCHS = 80, 20


def worker(threads: int) -> Side:
    """A process of so many threads that trains a few steps."""
    prepare()
    torch.set_num_threads(threads)
    steps = Steps(Method(), noise(100, 10), RECIPES["ldam"], CPU, count=COUNT)
    return lambda: steps.losses


def test_workers_of_one_thread_on_a_cpu(benchmark: Any, rounds: int, device: torch.device) -> None:
    """As many single-threaded workers as cores, over one worker with all of them, which does the same steps."""
    if device.type != "cpu":
        pytest.skip("for a CPU")
    cores = torch.get_num_threads() if not hasattr(os, "sched_getaffinity") else len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        many = [stack.enter_context(started(functools.partial(worker, 1))) for _ in range(cores)]
        single = stack.enter_context(started(functools.partial(worker, cores)))
        pool = stack.enter_context(ThreadPoolExecutor(cores))

        def packed() -> None:
            list(pool.map(lambda one: one(), many))

        def one_after_another() -> None:
            for _ in range(cores):
                single()

        ratio = in_turn(benchmark, packed, one_after_another, rounds, "one worker with all cores")
    benchmark.extra_info.update(cores=cores)
    print(f"\n{cores} single-threaded workers: {1 / ratio:.2f} x the steps of one with {cores} threads", flush=True)


@pytest.mark.parametrize("runs", [2, 4, 8])
def test_graphs_on_streams_of_a_gpu(benchmark: Any, rounds: int, device: torch.device, runs: int) -> None:
    """So many captured runs in one process, each on a stream of its own, over as many one after the other.

    Building and capturing them is part of both sides.
    """
    if device.type != "cuda":
        pytest.skip("needs a GPU")
    prepare()
    data = noise(100, 108)

    def train(seeds: range) -> None:
        makes = [
            functools.partial(Steps, Method(), data, RECIPES["ldam"], device, "graph", seed, STEPS) for seed in seeds
        ]
        side_by_side(makes, EPOCHS, device)

    def one_after_another() -> None:
        for seed in range(runs):
            train(range(seed, seed + 1))

    ratio = in_turn(benchmark, lambda: train(range(runs)), one_after_another, rounds, "one after the other", device)
    print(f"\n{runs} runs together: {1 / ratio:.2f} x the steps of one", flush=True)

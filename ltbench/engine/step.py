"""How the steps of an epoch are run: one by one, or captured once as a CUDA graph and replayed.

A *step* takes the columns [R, S * B] of a plan, trains on them and returns its loss. Plan and arithmetic are the same
in both cases.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ltbench.randomness import seeded

Step = Callable[[Tensor], Tensor]
WARM_UP = 3


class Epochs(Protocol):
    """Runs all steps of an epoch."""

    def __call__(self, drawn: Tensor) -> list[float]:
        """Train by a plan [R, S, draws] on the device; returns the loss of every step."""


class Eager:
    """One step after the other, launched from the host: the reference."""

    def __init__(self, step: Step, batch_size: int) -> None:
        self.step, self.batch_size = step, batch_size

    def __call__(self, drawn: Tensor) -> list[float]:
        """See ``Epochs``."""
        batches = torch.split(drawn, self.batch_size, dim=2)
        losses = torch.zeros(len(batches), device=drawn.device)
        for i, columns in enumerate(batches):
            losses[i] = self.step(columns.flatten(1))
        values: list[float] = losses.tolist()  # the only time in an epoch that the host waits for the device
        return values


class Static:
    """The same steps with every input and output at a fixed address, as a CUDA graph needs it.

    A counter on the device selects each step's part of the plan. A last, partial batch is a step of another size.

    Args:
        step: trains on the columns that it gets.
        shape: of the plan: rows, streams, draws.
        batch_size: B.
        device: of the plan and the losses.
    """

    def __init__(self, step: Step, shape: Sequence[int], batch_size: int, device: torch.device) -> None:
        self.step, self.batch_size = step, batch_size
        draws = shape[2]
        self.drawn = torch.zeros(tuple(shape), dtype=torch.int64, device=device)
        self.losses = torch.zeros(math.ceil(draws / batch_size), device=device)
        self.at = torch.zeros(1, dtype=torch.int64, device=device)
        self.rows = torch.arange(batch_size, device=device)
        rest = draws % batch_size
        self.sizes = [batch_size] * (draws // batch_size) + ([rest] if rest else [])
        self.play: dict[int, Callable[[], None]] = {n: functools.partial(self._advance, n) for n in set(self.sizes)}

    def __call__(self, drawn: Tensor) -> list[float]:
        """See ``Epochs``."""
        self.drawn.copy_(drawn)
        self.at.zero_()
        for size in self.sizes:
            self.play[size]()
        values: list[float] = self.losses.tolist()
        return values

    def capture(self, drawn: Tensor, state: Sequence[Tensor]) -> None:
        """Capture a graph of each size of step, on the current CUDA device.

        Other threads may train on the same device at the same time, on streams of their own:

        - one thread captures at a time (``seeded`` holds the lock), in the mode that does not restrict the others;
        - a thread with a stream of its own warms up, captures and replays on that stream. Memory that kernels share by
          stream (cuBLAS's workspace, the allocator's blocks) is then never used by two graphs at the same time;
        - the graphs of both sizes share one memory pool: they run one after the other, and the results of a step are
          stored outside of the pool.

        Args:
            drawn: a plan to warm up with.
            state: everything that a step changes; it is restored afterwards, also where the capture fails.
        """
        running = torch.cuda.current_stream()
        own = torch.cuda.Stream() if running == torch.cuda.default_stream() else running  # which cannot be captured
        graphs: dict[int, torch.cuda.CUDAGraph] = {}
        pool: Any = torch.cuda.graph_pool_handle()
        before = [tensor.clone() for tensor in state]
        try:
            with seeded(0, drawn.device):
                self.drawn.copy_(drawn)
                own.wait_stream(running)
                with torch.cuda.stream(own):
                    for size in self.play:
                        self.at.zero_()
                        for _ in range(WARM_UP):
                            self._advance(size)
                            self.at.zero_()
                running.wait_stream(own)
                for size in self.play:
                    graphs[size] = torch.cuda.CUDAGraph()
                    with torch.cuda.graph(graphs[size], pool, own, capture_error_mode="thread_local"):
                        self._advance(size)
        finally:
            own.synchronize()
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        self.play = {size: graph.replay for size, graph in graphs.items()}

    def _advance(self, size: int) -> None:
        columns = self.drawn.index_select(2, self.at * self.batch_size + self.rows[:size])
        self.losses.index_copy_(0, self.at, self.step(columns.flatten(1))[None])
        self.at += 1

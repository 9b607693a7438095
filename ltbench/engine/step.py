"""How the steps of an epoch are run: one by one, or captured once as a CUDA graph and replayed.

A *step* takes the columns [rows, B] of a plan, trains on them and returns its loss. Whatever runs the steps, they are
the same: same plan, same arithmetic.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]
WARM_UP = 3


class Epochs(Protocol):
    """Runs all steps of an epoch."""

    def __call__(self, drawn: Tensor) -> list[float]:
        """Train by a plan [rows, S, draws] on the device; returns the loss of every step."""


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
        values: list[float] = losses.tolist()  # the one time in an epoch that the host waits for the device
        return values


class Static:
    """The same steps with every input and output in a place that never moves, as a CUDA graph needs it.

    A counter on the device selects each step's part of the plan. The last, partial batch is a step of its own size.

    Args:
        step: trains on the columns it is given.
        streams, draws: shape of the plan.
        batch_size: B.
        device: where it all lies.
        rows: of the plan.
    """

    def __init__(
        self, step: Step, streams: int, draws: int, batch_size: int, device: torch.device, rows: int = 4
    ) -> None:
        self.step, self.batch_size = step, batch_size
        self.drawn = torch.zeros((rows, streams, draws), dtype=torch.int64, device=device)
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

        Args:
            drawn: a plan to warm up with.
            state: everything that a step changes; it is put back as it was.
        """
        before = [tensor.clone() for tensor in state]
        self.drawn.copy_(drawn)
        graphs: dict[int, torch.cuda.CUDAGraph] = {}
        pool: Any = torch.cuda.graph_pool_handle()
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for size in self.play:
                self.at.zero_()
                for _ in range(WARM_UP):
                    self._advance(size)
                    self.at.zero_()
        torch.cuda.current_stream().wait_stream(beside)
        for size in self.play:
            graphs[size] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graphs[size], pool=pool):
                self._advance(size)
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        self.play = {size: graph.replay for size, graph in graphs.items()}

    def _advance(self, size: int) -> None:
        columns = self.drawn.index_select(2, self.at * self.batch_size + self.rows[:size])
        self.losses.index_copy_(0, self.at, self.step(columns.flatten(1))[None])
        self.at += 1

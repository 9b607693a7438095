"""How the steps of an epoch are run: one by one, or captured once as a CUDA graph and replayed.

A *step* takes the columns [R, S * B] of a plan, trains on them and returns its loss. Plan and arithmetic are the same
in both cases.
"""

import contextlib
import functools
import math
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ltbench.errors import one_line
from ltbench.randomness import ALONE, seeded

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
        self.numbers = torch.arange(len(self.losses), device=device)
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
        """Capture a graph of each size of step.

        Other threads may train on the same device at the same time, on streams of their own:

        - one thread captures at a time (``seeded`` holds the lock), in the mode that does not restrict the others;
        - a thread with a stream of its own warms up, captures and replays on that stream. Memory that kernels share by
          stream (cuBLAS's workspace, the allocator's blocks) is then never used by two graphs at the same time;
        - the graphs of both sizes share one memory pool: they run one after the other, and the results of a step are
          stored outside of the pool.

        Args:
            drawn: a plan to warm up with.
            state: everything that a step changes; it is restored afterwards, also where the capture fails.

        Raises:
            RuntimeError: when a step cannot be captured; see ``why_failed``.
        """
        device = drawn.device
        running = torch.cuda.current_stream(device)
        default = running == torch.cuda.default_stream(device)  # which cannot be captured
        own = torch.cuda.Stream(device) if default else running
        graphs: dict[int, torch.cuda.CUDAGraph] = {}
        pool: Any = torch.cuda.graph_pool_handle()
        before = [tensor.clone() for tensor in state]
        try:
            # a capture that fails leaves its stream as the current one: the outer context puts this thread's back
            with torch.cuda.stream(running), seeded(0), capturable(pool, own, device):
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

    def close(self) -> None:
        """Free the graphs. No other thread may capture meanwhile, and this waits until none does."""
        with ALONE:
            self.play = {}

    def _advance(self, size: int) -> None:
        columns = self.drawn.index_select(2, self.at * self.batch_size + self.rows[:size])
        loss = self.step(columns.flatten(1))
        self.losses.copy_(torch.where(self.numbers == self.at, loss, self.losses))  # index_copy_: twenty kernels
        self.at += 1


_broken: list[str] = []
"""Why this process can capture no more; empty while it can."""


@contextlib.contextmanager
def capturable(pool: Any, stream: torch.cuda.Stream, device: torch.device) -> Iterator[None]:
    """Captures into a memory pool. If one fails, later ones of this process are still possible.

    A failed capture of torch 2.11 leaves its pool open, and every later capture of the process then fails. So the pool
    is ended here, and a trivial capture proves that it was enough; where it was not, a warning says so.

    Raises:
        RuntimeError: at once, where an earlier failure has left this process unable to capture.
    """
    if _broken:
        raise RuntimeError(_broken[0])
    try:
        yield
    except RuntimeError as error:
        with contextlib.suppress(RuntimeError):  # newer versions of torch have ended it already
            torch._C._cuda_endAllocateToPool(device.index, pool)
        try:
            number, trial = torch.zeros((), device=device), torch.cuda.CUDAGraph()
            with torch.cuda.graph(trial, torch.cuda.graph_pool_handle(), stream, capture_error_mode="thread_local"):
                number += 1
        except RuntimeError:
            _broken.append(
                f"an earlier capture of this process failed, and torch cannot capture any more: {why_failed(error)}"
            )
            warnings.warn(f"{_broken[0]}; all later runs of this process are eager", stacklevel=2)
        raise


def why_failed(error: BaseException) -> str:
    """The error that made a capture fail, in one line, with the line of code outside torch that caused it.

    Ending a broken capture raises an error of its own. The first one is found through ``__context__``.
    """
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    torch_folder = str(Path(torch.__file__).parent)
    lines = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(torch_folder)]
    return one_line(error) + (f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else "")

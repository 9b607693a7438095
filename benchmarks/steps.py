"""Steps of one stage without the rest of a run, in any tier, for the benchmarks of the engine."""

import contextlib
import copy
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from ltbench.data import Imbalance, LongTailed, Split, cut
from ltbench.data.images import ImageSet
from ltbench.engine.batches import Normaliser
from ltbench.engine.optimiser import optimiser_of
from ltbench.engine.process import numerics, own_stream
from ltbench.engine.stage import RunningStage
from ltbench.engine.task import Task, Tier
from ltbench.method.contract import Method
from ltbench.plan.recipe import Recipe


def noise(classes: int, train: int, test: int = 1, side: int = 32) -> LongTailed:
    """Generated colour images, ``train`` and ``test`` of them per class."""
    generator = np.random.default_rng(0)

    def split(a_class: int) -> Split:
        pixels = generator.integers(256, size=(classes * a_class, side, side, 3), dtype=np.uint8)
        return Split(pixels, np.repeat(np.arange(classes), a_class))

    pictures = ImageSet("noise", tuple(map(str, range(classes))), split(train), split(test))
    return cut(pictures, Imbalance("natural"))


class _Contiguous(Normaliser):
    """The same normalisation; the images are in contiguous layout."""

    def __init__(self, usual: Normaliser) -> None:
        vars(self).update(vars(usual))

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return super().__call__(pixels).contiguous()


@dataclass(frozen=True)
class Kernels:
    """Which kernels a GPU runs. The defaults are those of the engine."""

    layout: Literal["nhwc", "nchw"] = "nhwc"
    batch_norm: Literal["cudnn", "native"] = "cudnn"
    deterministic: bool = True

    def apply(self, running: RunningStage) -> None:
        """Change the layout and the batch norm of a stage that has not started."""
        if self.layout == "nchw":
            task = running.task
            running.net.to(memory_format=torch.contiguous_format)
            running.optimiser = optimiser_of(running.net, running.stage, task.recipe, task.device)
            running.task = replace(task, normalise=_Contiguous(task.normalise))
        for module in running.net.modules() if self.batch_norm == "native" else ():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.forward = functools.partial(_without_cudnn, module.forward)  # type: ignore[method-assign]

    @contextlib.contextmanager
    def numerics(self, strict: bool) -> Iterator[None]:
        """The engine's numerics, or the fastest kernels that cuDNN finds."""
        with numerics(strict):
            if not self.deterministic:
                torch.use_deterministic_algorithms(False)
                torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
            yield


def _without_cudnn(forward: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    with torch.backends.cudnn.flags(enabled=False):
        return forward(images)


class Steps:
    """Epochs of a method's last stage, the same plan in each.

    Args:
        method: it is copied, since ``setup`` changes it.
        data, recipe, device, tier, seed: of the run.
        count: steps in an epoch; all batches are full.
        kernels: which kernels are run.
    """

    def __init__(
        self,
        method: Method,
        data: LongTailed,
        recipe: Recipe,
        device: torch.device,
        tier: Tier = "eager",
        seed: int = 0,
        count: int = 1,
        kernels: Kernels = Kernels(),
    ) -> None:
        method = copy.deepcopy(method)
        task = Task.of(data, recipe, seed, device, tier=tier)
        stage = replace(method.stages()[-1], epochs=1.0)  # a post-hoc method trains nothing of its own
        self.running, self.kernels = RunningStage(method, stage, 0, task), kernels
        kernels.apply(self.running)
        draws, self.count = count * recipe.batch_size, count
        plan = self.running.begin(0)
        self.plan = plan.repeat(1, 1, -(-draws // plan.shape[2]))[:, :, :draws]
        self.running.set_to(0.0, 1e-3)
        self.strict = recipe.precision == "fp32-strict"
        with kernels.numerics(self.strict):
            started = time.perf_counter()
            self.run, self.tier, self.reason = self.running.runner(self.plan)
            self.capture_seconds = time.perf_counter() - started

    def losses(self) -> list[float]:
        """Train an epoch; returns when the device has finished."""
        with self.kernels.numerics(self.strict):
            return self.run(self.plan)

    def seconds(self) -> float:
        """Of one step, the mean of an epoch."""
        started = time.perf_counter()
        self.losses()
        return (time.perf_counter() - started) / self.count


def side_by_side(
    makes: Sequence[Callable[[], Steps]], epochs: int, device: torch.device
) -> tuple[float, list[list[float]]]:
    """Several runs at once, each in a thread and on a stream of its own.

    Args:
        makes: builds each run, captures included; that is not timed. Not of precision ``fp32-strict``.
        epochs: of each run, after one that is not timed.
        device: where they all run.

    Returns:
        Steps a second of all runs together, and the losses of each.
    """
    ready = threading.Barrier(len(makes))

    def work(make: Callable[[], Steps]) -> tuple[float, float, int, list[float]]:
        try:
            with own_stream(device):
                steps = make()
                losses = steps.losses()
                ready.wait()
                started = time.perf_counter()
                for _ in range(epochs):
                    losses += steps.losses()
                return started, time.perf_counter(), epochs * steps.count, losses
        except BaseException:
            ready.abort()  # the others need not wait
            raise

    with numerics(strict=False), ThreadPoolExecutor(len(makes)) as pool:
        done = list(pool.map(work, makes))
    wall = max(end for _, end, _, _ in done) - min(started for started, _, _, _ in done)
    return sum(count for _, _, count, _ in done) / wall, [losses for *_, losses in done]

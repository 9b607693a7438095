"""All randomness: seeds keyed by what they are for, and torch's one global generator."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator

import numpy as np
import torch

ALONE = threading.RLock()
"""Held by the one thread that draws from torch's global generator or captures a graph."""


def key(*parts: object) -> int:
    """A 63-bit seed that depends on every part and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def generator(*parts: object) -> np.random.Generator:
    """A generator for this purpose."""
    return np.random.Generator(np.random.Philox(key(*parts)))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators, those of all GPUs too, for this thread alone; seeded here, afterwards as they were."""
    with ALONE, torch.random.fork_rng(devices=gpus()):
        torch.manual_seed(seed)
        yield


def gpus() -> range:
    """The GPUs of this process, by number; none before CUDA is used, and this does not begin to use it."""
    return range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)


class Draws:
    """Seeds the epochs of a stage that draws from torch's global generator, as dropout in a backbone does.

    Such epochs run one at a time, since torch has one generator for all threads. Whether a stage is of that kind shows
    in its first epoch, which is run as if it were; all steps of a stage draw alike.

    Args:
        device: where the stage trains.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.drawing = True

    @contextlib.contextmanager
    def epoch(self, seed: int) -> Iterator[None]:
        """Around the steps of an epoch."""
        if not self.drawing:
            yield
            return
        with seeded(seed):
            before = self._states()
            yield
            self.drawing = not all(torch.equal(a, b) for a, b in zip(before, self._states(), strict=True))

    def _states(self) -> list[torch.Tensor]:
        on_gpu = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *on_gpu]

"""What all training runs of a process share: its settings, and torch's one global generator."""

import contextlib
import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from typing import Any

import torch

from ltbench.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
ALONE = threading.RLock()
"""Held by the one thread that draws from torch's global generator or captures a graph."""


def prepare() -> None:
    """Call once, before the first training.

    glibc gives activation blocks back to the kernel after each step and faults them in again in the next; told to keep
    them, it saves that time in every step and evaluation on a CPU.

    The first ``exp`` that several threads share was seen, in about one process of forty, to round differently from
    every later one of the same values; a small one beforehand, on one thread, keeps that out of results.
    """
    torch.arange(16.0).exp()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its results only with this
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def device_of(name: str) -> torch.device:
    """The training device: ``auto`` is CUDA where there is a GPU, else the CPU.

    Raises:
        InputError: for a name that is none, and for a device that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device '{name}'; allowed: auto, cpu, cuda, cuda:0, ...", name) from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device '{name}' is not supported; allowed: auto, cpu, cuda, cuda:0, ...", name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device '{name}' is not there: PyTorch sees {torch.cuda.device_count()} CUDA devices; use --device cpu",
            name,
        )
    return device


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Torch's global generator for this thread alone, seeded here and afterwards as it was.

    Args:
        seed: of the CPU's generator and of those of all GPUs.
        device: a GPU whose generator is put back too.
    """
    forked = [device] if device is not None and device.type == "cuda" else []
    with ALONE, torch.random.fork_rng(devices=forked):
        torch.manual_seed(seed)
        yield


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
        with seeded(seed, self.device):
            before = self._states()
            yield
            self.drawing = not all(torch.equal(a, b) for a, b in zip(before, self._states(), strict=True))

    def _states(self) -> list[torch.Tensor]:
        on_gpu = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *on_gpu]


@contextlib.contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """On a GPU everything that this thread does goes to a stream of its own; on a CPU there is none.

    Enter it once a thread: torch deals streams from 32 in turn, and a 33rd would be one that another thread still has.
    """
    if device.type == "cuda":
        with torch.cuda.stream(torch.cuda.Stream(device)):
            yield
    else:
        yield


@contextlib.contextmanager
def numerics(strict: bool) -> Iterator[None]:
    """Deterministic kernels; with ``strict`` no TF32 in convolutions.

    The flags are the whole process's. Threads may nest this in one that was entered before them and is left after them:
    as all ask for the same, the inner ones change nothing.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    debugging: Any = torch.utils.deterministic
    fill = debugging.fill_uninitialized_memory
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=not strict):
        torch.use_deterministic_algorithms(True, warn_only=True)
        debugging.fill_uninitialized_memory = False  # only of use to find bugs, at a cost in every step
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            debugging.fill_uninitialized_memory = fill

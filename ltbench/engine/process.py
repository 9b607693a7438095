"""What all training runs of a process share: its settings, and torch's one global generator."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from typing import Any

import torch

from ltbench.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


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

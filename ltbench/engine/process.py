"""Settings that all training runs of a process share: memory, devices, streams, numerics."""

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
    """Prepare the process. Call this once, before the first training.

    By default, glibc returns the memory of activations to the kernel after each step and requests it again in the next.
    Keeping the memory saves this time in every step and evaluation on a CPU.

    In about one process of forty, the first ``exp`` that several threads share was seen to round differently from all
    later ones of the same values. A small ``exp`` on one thread beforehand keeps this out of results.
    """
    torch.arange(16.0).exp()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its results only with this
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # queues of a GPU: more than the usual eight streams
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def device_of(name: str) -> torch.device:
    """The training device: ``auto`` is CUDA where there is a GPU, else the CPU.

    Raises:
        InputError: for an unknown name, and for a device that this machine does not have.
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
            f"device '{name}' does not exist: PyTorch sees {torch.cuda.device_count()} CUDA devices; use --device cpu",
            name,
        )
    return device


@contextlib.contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Run everything that this thread does on a GPU on a stream of its own; on a CPU there are no streams.

    Enter this once per thread: torch has 32 streams, so a 33rd would be one that another thread still uses.
    """
    if device.type == "cuda":
        with torch.cuda.stream(torch.cuda.Stream(device)):
            yield
    else:
        yield


@contextlib.contextmanager
def numerics(strict: bool) -> Iterator[None]:
    """Use deterministic kernels, and with ``strict`` no TF32 in convolutions.

    The flags apply to the process. If several threads train, enter this before they start and leave it after they end;
    inside, each thread may enter it again with the same ``strict``, which changes nothing.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    debugging: Any = torch.utils.deterministic
    fill = debugging.fill_uninitialized_memory
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=not strict):
        torch.use_deterministic_algorithms(True, warn_only=True)
        debugging.fill_uninitialized_memory = False  # only helps to find bugs, and costs time in every step
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            debugging.fill_uninitialized_memory = fill

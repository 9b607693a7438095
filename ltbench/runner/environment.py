"""The environment of a run: versions, device, memory, revision."""

import functools
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ltbench.results.record import Environment

CHOSEN_BY = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_fp16",
)
"""Flags of a processor, as Linux names them, that decide which kernel of oneDNN or PyTorch is used."""


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory in bytes: of this cell on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def environment(device: torch.device, threads: int | None = None) -> Environment:
    """Versions, device and revision, as records store them.

    Args:
        threads: of the process; None: as they are now.
    """
    return Environment(
        python=platform.python_version(),
        ltbench=_version("ltbench"),
        torch=_version("torch"),
        timm=_version("timm"),
        numpy=_version("numpy"),
        platform=platform.platform(),
        device=str(device),
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor("model name"),
        instructions=_instructions() if device.type == "cpu" else "",
        threads=(threads or torch.get_num_threads()) if device.type == "cpu" else 1,
        revision=_revision(),
    )


def _version(package: str) -> str:
    """The version of a package. One that runs from a folder, without being installed, states it itself."""
    try:
        return version(package)
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "not installed"))


@functools.cache
def _processor(field: str) -> str:
    """A field of the first processor, as the kernel describes it; the architecture where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    known = (line.split(":", 1)[1].strip() for line in lines if line.startswith(field))
    return next(known, platform.processor() or platform.machine())


def _instructions() -> str:
    """The vector instructions that PyTorch and oneDNN choose their kernels by."""
    flags = _processor("flags").split()
    return " ".join(flag for flag in CHOSEN_BY if flag in flags) or torch.backends.cpu.get_cpu_capability()


@functools.cache
def _revision() -> str | None:
    """The commit of the checkout that ltbench runs from, with ``+`` where it was changed; None if it is installed."""
    here = Path(__file__).resolve().parent.parent
    try:
        top = subprocess.run(
            ["git", "-C", here, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True
        )
        if Path(top.stdout.rstrip("\n")) != here.parent:  # an installed package below another project's repository
            return None
        commit = subprocess.run(
            ["git", "-C", here, "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip()

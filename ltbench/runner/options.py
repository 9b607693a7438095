"""How a plan is carried out: device, processes, threads."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

from ltbench.errors import InputError
from ltbench.plan.expand import Planned

MOST_RUNS = 16
"""Runs that one process trains at once on one device, at most."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a plan is carried out. Results do not depend on it, except for rounding by device, ``threads`` and ``tier``.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``; ``all``: one worker for each GPU of this machine.
        checkpoint_every_s: seconds between checkpoints of a running stage.
        workers: processes; None: one for each core where there are at least as many cells to train, and no GPU.
        threads: of each process. Sums over two threads round differently from sums over one, so the default never
            depends on the machine or on how much there is to do.
        tier: ``eager``, or on a GPU ``graph`` or ``compiled``.
        runs_per_device: runs at once in this process, on a GPU each on a stream of its own; ``auto``: as many as make
            all of them together faster.
        images_in: where images are stored while training: memory of the ``device``, ``host`` memory, or the packed
            ``file`` of an image folder; ``auto``: the first of them that has room.
        isolate: train the cells of each method in processes of their own.
        executor: where workers are: ``local``, processes of this machine, or ``ray``, actors of a Ray cluster.
    """

    device: str = "auto"
    checkpoint_every_s: float = 30.0
    workers: int | None = None
    threads: int = 1
    tier: Literal["eager", "graph", "compiled"] = "eager"
    runs_per_device: int | Literal["auto"] = 1
    images_in: Literal["auto", "device", "host", "file"] = "auto"
    isolate: bool = False
    executor: Literal["local", "ray"] = "local"

    def resolved(self, cells: Sequence[Planned]) -> "RunOptions":
        """The options with numbers in place of None.

        Args:
            cells: those that are still to be trained.

        Raises:
            InputError: when the device or the place for images does not exist, and for options that exclude each other.
        """
        self._check(cells)
        if self.executor == "ray":
            return self  # what the cluster has is known when it is connected
        if self.device == "all":
            return self._on_all_gpus()
        from ltbench.engine.process import device_of

        device = device_of(self.device)
        self.check_tier(device.type)
        several = self.runs_per_device != 1
        if several and (self.workers or 1) > 1:
            raise InputError("several runs per device are threads of one process; remove --workers", "workers")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = self.workers or (min(cores, len(cells)) or 1 if device.type == "cpu" and not several else 1)
        return replace(self, device=str(device), workers=workers)

    def _on_all_gpus(self) -> "RunOptions":
        import torch

        gpus = torch.cuda.device_count()
        if not gpus:
            raise InputError(
                "device 'all' is every GPU of this machine, and PyTorch sees none; use --device cpu", "all"
            )
        if self.workers is not None:
            raise InputError("device 'all' has one worker for each GPU; remove --workers", "workers")
        return replace(self, device="all" if gpus > 1 else "cuda:0", workers=gpus)

    @property
    def first_device(self) -> str:
        """The device of what is computed before the workers start."""
        return "cuda:0" if self.device == "all" else self.device

    def check_tier(self, device: str) -> None:
        """Check that the tier exists on a kind of device.

        Raises:
            InputError: where it does not.
        """
        if self.tier != "eager" and device != "cuda":
            raise InputError(f"tier '{self.tier}' needs a CUDA device; on {device} use --tier eager", self.tier)

    def _check(self, cells: Sequence[Planned]) -> None:
        """Raise InputError for options that exclude each other, or that the cells exclude."""
        several = self.runs_per_device != 1
        if several and self.isolate:
            raise InputError("several runs per device are threads of one process; remove --isolate", "isolate")
        if several and self.tier == "compiled":
            raise InputError("tier 'compiled' compiles one run at a time; for several use --tier graph", self.tier)
        if self.executor == "ray" and self.device not in ("auto", "cpu", "cuda"):
            raise InputError(
                f"device '{self.device}' is chosen by Ray; with --executor ray use --device auto (every GPU), "
                "cpu or cuda"
            )
        if self.executor == "ray" and find_spec("ray") is None:
            raise InputError("--executor ray needs Ray; install it with pip install 'ltbench[ray]'", "ray")
        for planned in cells if self.images_in == "file" else ():
            if not planned.images.train.in_file:
                name = planned.cell.label
                raise InputError(
                    f"{name} has no packed file, only image folders have one; use --images-in host", "file"
                )

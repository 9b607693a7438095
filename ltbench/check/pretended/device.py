"""The state of a pretended device: what waited for it, and what is being captured."""

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

CUDA = torch.device("cuda", 0)
TORCH, HERE = str(Path(torch.__file__).parent), str(Path(__file__).parent)

Kind = Literal["read", "copy to the host", "copy to the device", "size by values", "synchronisation", "host values"]
SAYS: dict[Kind, str] = {
    "read": "a value is read on the host ({}); use torch.where instead of if, and no .item()",
    "copy to the host": "a tensor is copied to the host ({})",
    "copy to the device": "a tensor is copied to the device ({}); create it in setup()",
    "size by values": "the size of a result depends on values ({}); use torch.where",
    "synchronisation": "the host waits for the device ({})",
    "host values": "a tensor is created from host values in the step ({}); create it in setup()",
}


class CaptureFailed(RuntimeError):
    """A capture met what a CUDA graph cannot contain."""


@dataclass(frozen=True)
class Wait:
    """Something that makes the host wait for the device, or moves data between the two.

    Attributes:
        kind: of the wait. ``host values``: a tensor made from Python numbers, which a captured step would not repeat.
        operation: that waited.
        lines: (file, line) of every function outside torch that was running, the innermost first.
    """

    kind: Kind
    operation: str
    lines: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return SAYS[self.kind].format(self.operation)

    def line(self, file: Path) -> int | None:
        """The innermost line of a file that was running."""
        return next((line for name, line in self.lines if Path(name) == file), None)


def running_lines() -> tuple[tuple[str, int], ...]:
    """(file, line) of every running function outside torch and outside this package, the innermost first."""
    found: list[tuple[str, int]] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((TORCH, HERE, "<")):
            found.append((name, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)


MAKES_NOTHING = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}


class Record:
    """The operations of a captured graph, on the memory that they used."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, Sequence[Tensor]]] = []

    def add(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Record an operation on CPU tensors, which has just run.

        A view needs no repetition. A scalar on the CPU is recorded by value, as a kernel's argument.
        """
        outs = [value for value in tree_flatten(out)[0] if isinstance(value, Tensor)]
        if func._schema.is_mutable:
            outs = []
        elif func.overloadpacket.__name__ in MAKES_NOTHING or all(_is_view(o, args, kwargs) for o in outs):
            return
        self.operations.append((func, args, kwargs, outs))

    def replay(self) -> None:
        """Repeat every operation on the same memory."""
        with torch.no_grad():
            for func, args, kwargs, outs in self.operations:
                found = [value for value in tree_flatten(func(*args, **kwargs))[0] if isinstance(value, Tensor)]
                for old, new in zip(outs, found, strict=False):
                    old.copy_(new)


def _is_view(out: Tensor, args: Any, kwargs: Any) -> bool:
    memory = out.untyped_storage().data_ptr()
    given = (value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor))
    return bool(memory) and any(value.untyped_storage().data_ptr() == memory for value in given)


@dataclass
class Device:
    """A pretended device.

    Attributes:
        name: as ``torch.cuda`` reports it.
        waits: everything that waited, in order.
        operations: number of calls of each operation, by name.
        compiled: number of calls of compiled functions.
        captures: number of operations of each captured graph.
        open_pools: memory pools that a failed capture has left open, so that every later capture fails.
    """

    name: str = "pretended GPU"
    waits: list[Wait] = field(default_factory=list)
    operations: dict[str, int] = field(default_factory=dict)
    compiled: int = 0
    captures: list[int] = field(default_factory=list)
    open_pools: set[Any] = field(default_factory=set)
    sync_raises: bool = False
    thread: threading.local = field(default_factory=threading.local)

    @property
    def capturing(self) -> Record | None:
        """What this thread captures at the moment."""
        found: Record | None = getattr(self.thread, "capturing", None)
        return found

    @property
    def quiet(self) -> bool:
        """Whether this thread runs a function whose waits exist on a CPU only."""
        return bool(getattr(self.thread, "quiet", False))

    @contextlib.contextmanager
    def setting(self, **values: Any) -> Iterator[None]:
        """Values of this thread, for a while."""
        before = {name: getattr(self.thread, name, None) for name in values}
        self.thread.__dict__.update(values)
        try:
            yield
        finally:
            self.thread.__dict__.update(before)

    def wait(self, kind: Kind, operation: str) -> None:
        """Log a wait.

        Raises:
            CaptureFailed: during a capture.
            RuntimeError: if the sync debug mode asks for it.
        """
        if self.quiet:
            return
        found = Wait(kind, operation, running_lines())
        self.waits.append(found)
        if kind != "host values":
            if self.capturing is not None:
                raise CaptureFailed(f"operation not permitted when stream is capturing: {found}")
            if self.sync_raises:
                raise RuntimeError(f"called a synchronizing CUDA operation: {found}")

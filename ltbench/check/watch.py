"""Finds on the CPU the operations that would make the host wait for a GPU, or copy to it, during an epoch."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ltbench.check.subject import Broken

READS = {"_local_scalar_dense", "item", "is_nonzero", "equal", "allclose"}
SIZED_BY_VALUES = {
    "nonzero",
    "nonzero_numpy",
    "argwhere",
    "masked_select",
    "bincount",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
MAKES = {"lift_fresh"}
TO_HOST: set[Any] = {Tensor.cpu, Tensor.numpy, Tensor.tolist, Tensor.__array__}


class Operations(TorchDispatchMode):
    """Refuses operations whose result the host needs, or whose result has a size that depends on values."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, or raise Broken."""
        name = func.overloadpacket.__name__
        if not self.paused:
            if name in READS:
                raise Broken(f"a value is read on the host ({name}); use torch.where instead of if, and no .item()")
            masks = name in INDEXING and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
            repeats = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None
            if name in SIZED_BY_VALUES or masks or repeats:
                raise Broken(
                    f"the size of a result depends on values ({name}{' by a mask' if masks else ''}); use torch.where"
                )
            if name in MAKES:
                raise Broken("a tensor is created from host values in the step; create it in setup()")
        return func(*args, **(kwargs or {}))


class Functions(TorchFunctionMode):
    """Refuses functions that are not operations on the CPU but would copy from a GPU."""

    def __init__(self, operations: Operations) -> None:
        super().__init__()
        self.operations = operations

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or raise Broken."""
        call: Callable[[], Any] = lambda: func(*args, **(kwargs or {}))  # noqa: E731
        if func in TO_HOST:
            raise Broken(f"a tensor is copied to the host (.{func.__name__}())")
        if func is F.one_hot and (len(args) > 1 or "num_classes" in (kwargs or {})):
            self.operations.paused = True  # on a CPU it also checks the labels, on a GPU it does not
            try:
                return call()
            finally:
                self.operations.paused = False
        return call()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Inside, an operation that would make the host wait raises Broken."""
    operations = Operations()
    with operations, Functions(operations):
        yield

"""Tensors of the pretended device, and the two modes that let every operation and function on them be seen."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

from ltbench.check.pretended.device import CUDA, Device

aten = torch.ops.aten
READS = {"_local_scalar_dense", "is_nonzero", "equal", "allclose"}
SIZED_BY_VALUES = {
    "nonzero",
    "masked_select",
    "bincount",
    "histc",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
COPIES = {aten.copy_.default, aten._to_copy.default}
FROM_HOST_VALUES = {torch.tensor, torch.as_tensor, torch.from_numpy}


class OnGpu(Tensor):
    """A tensor of the pretended device. C++ sees a tensor on the CPU, Python sees one on ``cuda:0``.

    Attributes:
        inner: its values, on the CPU.
        gpu: the device.
    """

    inner: Tensor  # type: ignore[assignment]
    gpu: Device
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    @staticmethod
    def __new__(cls, inner: Tensor, gpu: Device) -> "OnGpu":  # noqa: D102
        made: OnGpu = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=inner.device,
        )
        made.inner, made.gpu = inner, gpu
        return made

    def __init__(self, inner: Tensor, gpu: Device) -> None:
        pass

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        self.gpu.wait("read", "print")
        return f"{self.inner!r} on {CUDA}"

    def __deepcopy__(self, memo: Any) -> Tensor:
        copied = OnGpu(self.inner.clone(memory_format=torch.preserve_format), self.gpu)
        return torch.nn.Parameter(copied, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return on_gpu, (self.inner.detach(),)

    def record_stream(self, stream: Any) -> None:
        """Nothing to remember: memory is used again by no other stream."""

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation on a thread without the modes, such as one of autograd."""
        given = tree_flatten((args, kwargs))[0]
        gpu = next(value.gpu for value in given if isinstance(value, OnGpu))
        return run(gpu, func, args, kwargs or {})


current: list[Device] = []
"""The device of the innermost ``pretended()``."""


def on_gpu(inner: Any) -> Any:
    """The same values on the device. What is no CPU tensor stays what it is."""
    return OnGpu(inner, current[-1]) if isinstance(inner, Tensor) and not isinstance(inner, OnGpu) else inner


def on_cpu(value: Any) -> Any:
    """The values of a tensor of the device."""
    return value.inner if isinstance(value, OnGpu) else value


def is_cuda(device: Any) -> bool:
    """Whether an argument names a CUDA device."""
    return isinstance(device, (str, torch.device)) and torch.device(device).type == "cuda"


def run(gpu: Device, func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation of the device with the CPU's kernel.

    Raises:
        RuntimeError: when it mixes tensors of the device and of the CPU.
    """
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    name = func.overloadpacket.__name__
    gpu.operations[name] = gpu.operations.get(name, 0) + 1
    mine = any(isinstance(value, OnGpu) for value in given)
    strangers = [value for value in given if not isinstance(value, OnGpu) and value.dim() > 0]
    if mine and strangers and func not in COPIES:
        if name not in INDEXING or not isinstance(args[0], OnGpu):
            raise RuntimeError(f"expected all tensors to be on the same device, found cuda:0 and cpu: {func}")
        gpu.wait("copy to the device", f"{name} with indices on the CPU")
    if mine:
        _log(gpu, func, name, args, kwargs)
    recorded = gpu.capturing
    if recorded is not None:  # a scalar on the CPU is an argument of the kernel: captured by value
        scalars = {id(value): value.clone() for value in given if not isinstance(value, OnGpu)}
        args, kwargs = tree_map(lambda value: scalars.get(id(value), value), (args, kwargs))
    inputs, options = tree_map(on_cpu, (args, kwargs))
    out = func(*inputs, **options)
    if recorded is not None:
        recorded.add(func, inputs, options, out)
    if not isinstance(out, (Tensor, tuple, list)):
        return out
    # a view of a normal tensor is a normal tensor in inference mode, too
    inference = torch.is_inference_mode_enabled() and (not mine or any(value.is_inference() for value in given))
    with torch.inference_mode(inference):
        wrapped = tree_map(lambda value: OnGpu(value, gpu) if isinstance(value, Tensor) else value, out)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _log(gpu: Device, func: Any, name: str, args: Any, kwargs: Any) -> None:
    """Log the operation where CUDA would wait."""
    masks = name in INDEXING and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    if name in READS:
        gpu.wait("read", name)
    elif name in SIZED_BY_VALUES or masks:
        gpu.wait("size by values", f"{name} by a mask" if masks else name)
    elif name == "repeat_interleave" and kwargs.get("output_size") is None:
        gpu.wait("size by values", name)
    elif func is aten.copy_.default and isinstance(args[0], OnGpu) != isinstance(args[1], OnGpu):
        gpu.wait("copy to the device" if isinstance(args[0], OnGpu) else "copy to the host", name)


class Operations(TorchDispatchMode):
    """Sees every operation of a thread.

    C++ makes tensors on the CPU where it should make them on the device, as in the backward pass: those are moved.
    """

    def __init__(self, gpu: Device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        made_for_gpu = not given and getattr(self.gpu.thread, "on_gpu", False)
        if made_for_gpu or any(isinstance(value, OnGpu) for value in given):
            return run(self.gpu, func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


class Functions(TorchFunctionMode):
    """Sees every function of torch that Python calls: those that name a device, and those that bypass operations."""

    def __init__(self, gpu: Device) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function."""
        kwargs = dict(kwargs or {})
        mine = any(isinstance(value, OnGpu) for value in tree_flatten((args, kwargs))[0])
        if (special := SPECIAL.get(func)) and (mine or func in (Tensor.to, Tensor.cuda)):
            return special(self.gpu, *args, **kwargs)
        if func in FROM_HOST_VALUES and not mine:
            self.gpu.wait("host values", func.__name__)
        device = kwargs.get("device")
        if is_cuda(device):
            kwargs["device"] = "cpu"
            if func in FROM_HOST_VALUES and not mine:
                self.gpu.wait("copy to the device", func.__name__)
                return on_gpu(func(*args, **kwargs))
        kwargs.pop("pin_memory", None)
        # on a CPU, one_hot checks the labels; on a GPU it does not if it knows the number of classes
        quiet = func is F.one_hot and (len(args) > 1 or "num_classes" in kwargs)
        with self.gpu.setting(on_gpu=mine or is_cuda(device), quiet=quiet or self.gpu.quiet):
            return func(*args, **kwargs)


def _to(gpu: Device, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``Tensor.to``."""
    if args and isinstance(args[0], Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    copy = kwargs.pop("copy", False)
    device, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)
    options: dict[str, Any] = {"copy": copy}
    options |= {"dtype": dtype} if dtype is not None else {}
    options |= {"memory_format": layout} if layout is not None else {}
    if device is None or is_cuda(device) == isinstance(tensor, OnGpu):
        with gpu.setting(on_gpu=isinstance(tensor, OnGpu)):
            return Tensor.to(tensor, **({"dtype": tensor.dtype} | options))
    gpu.wait("copy to the device" if is_cuda(device) else "copy to the host", ".to()")
    return _moved(tensor, is_cuda(device)).to(**({"dtype": tensor.dtype} | options))


def _moved(tensor: Tensor, to_gpu: bool) -> Tensor:
    """A copy on the other device.

    Raises:
        NotImplementedError: when gradients would have to cross.
    """
    if tensor.requires_grad and torch.is_grad_enabled():
        raise NotImplementedError("the pretended device moves no gradients; detach the tensor first")
    values = on_cpu(tensor).detach().clone(memory_format=torch.preserve_format)
    moved: Tensor = on_gpu(values) if to_gpu else values
    return moved


def _cuda(gpu: Device, tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    return _to(gpu, tensor, CUDA)


def _cpu(gpu: Device, tensor: Tensor, **_: Any) -> Tensor:
    gpu.wait("copy to the host", ".cpu()")
    return _moved(tensor, to_gpu=False)


def _tolist(gpu: Device, tensor: OnGpu) -> Any:
    gpu.wait("read", ".tolist()")
    return tensor.inner.tolist()


def _numpy(gpu: Device, tensor: Tensor, *_: Any, **__: Any) -> Any:
    gpu.wait("copy to the host", ".numpy()")
    raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")


SPECIAL: dict[Any, Callable[..., Any]] = {
    Tensor.to: _to,
    Tensor.cuda: _cuda,
    Tensor.cpu: _cpu,
    Tensor.tolist: _tolist,
    Tensor.numpy: _numpy,
    Tensor.__array__: _numpy,
}


@contextlib.contextmanager
def modes(gpu: Device) -> Iterator[None]:
    """Inside, this thread can use the device."""
    with Operations(gpu), Functions(gpu):
        yield

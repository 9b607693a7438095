"""``torch.cuda`` as the pretended device has it: streams, events, graphs and memory pools."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self
from unittest import mock

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ltbench.check.pretended.device import CUDA, HERE, CaptureFailed, Device, Record
from ltbench.check.pretended.tensors import current, is_cuda, modes, on_cpu, on_gpu

MEMORY_BYTES = 140 << 30


class Stream:
    """A stream. Operations run at once, in the order of the program."""

    def __init__(self, gpu: Device, device: Any = None, priority: int = 0) -> None:
        _named(device)
        self.gpu, self.device = gpu, CUDA

    def wait_stream(self, other: "Stream") -> None:
        """Nothing to wait for."""

    def wait_event(self, event: "Event") -> None:
        """Nothing to wait for."""

    def is_capturing(self) -> bool:
        """Whether this thread captures."""
        return self.gpu.capturing is not None

    def synchronize(self) -> None:
        """Wait for the work on this stream."""
        self.gpu.wait("synchronisation", "Stream.synchronize")


class Event:
    """An event."""

    def __init__(self, gpu: Device, **options: Any) -> None:
        self.gpu = gpu

    def record(self, stream: Stream | None = None) -> None:
        """Nothing to record."""

    def synchronize(self) -> None:
        """Wait for the event."""
        self.gpu.wait("synchronisation", "Event.synchronize")

    def query(self) -> bool:
        """It has happened."""
        return True

    def elapsed_time(self, other: "Event") -> float:
        """Milliseconds."""
        return 1.0


class Graph:
    """A CUDA graph."""

    def __init__(self, gpu: Device, keep_graph: bool = False) -> None:
        self.gpu, self.record = gpu, Record()

    def replay(self) -> None:
        """Repeat what was captured.

        Raises:
            CaptureFailed: during a capture.
        """
        if self.gpu.capturing is not None:
            raise CaptureFailed("a graph was replayed during a capture")
        self.record.replay()


def _named(device: Any) -> None:
    """Refuse a call that leaves the device to torch, which takes the current one of the thread."""
    if not is_cuda(device):
        raise RuntimeError("name the device: torch's current device may be another one")


def _as_on_cuda(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package, which ends with the line that called torch."""
    if trace is None:
        return None
    following = _as_on_cuda(trace.tb_next)
    if trace.tb_frame.f_code.co_filename.startswith(HERE):
        return following
    return TracebackType(following, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)


class Cuda:
    """The functions of ``torch.cuda``."""

    def __init__(self, gpu: Device) -> None:
        self.gpu = gpu
        self.default = Stream(gpu, CUDA)
        self.pools = 0
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Seed the generator. Its state is 16 bytes as on CUDA; draws use the CPU's generator and do not move it."""
        self.generator = torch.frombuffer(bytearray((seed % 2**64).to_bytes(16, "little")), dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        """Put the generator back."""
        self.generator = state.clone()

    def current_stream(self, device: Any = None) -> Stream:
        """The stream of this thread."""
        _named(device)
        found: Stream = getattr(self.gpu.thread, "stream", None) or self.default
        return found

    def default_stream(self, device: Any = None) -> Stream:
        """The stream of threads that choose none."""
        _named(device)
        return self.default

    def graph_pool_handle(self) -> tuple[int, int]:
        """A new memory pool."""
        self.pools += 1
        return 0, self.pools

    @contextlib.contextmanager
    def graph(self, graph: Graph, pool: Any = None, stream: Any = None, capture_error_mode: str = "global") -> Any:
        """Capture.

        Raises:
            RuntimeError: when another capture is under way in this thread, or an earlier one has left its pool open.
        """
        gpu = self.gpu
        if gpu.capturing is not None or gpu.open_pools:
            raise RuntimeError("beginAllocateToPool: already recording to mempool_id")
        assert stream is not None and stream is not self.default, "the default stream cannot be captured"
        try:
            with gpu.setting(capturing=graph.record, stream=stream):
                yield
        except BaseException as error:
            gpu.open_pools.add(pool)
            gpu.thread.stream = stream  # as torch leaves it
            error.__traceback__ = _as_on_cuda(error.__traceback__)
            raise torch.AcceleratorError("operation failed due to a previous error during capture") from error
        gpu.captures.append(len(graph.record.operations))

    def end_pool(self, device: int, pool: Any) -> None:
        """``torch._C._cuda_endAllocateToPool``."""
        self.gpu.open_pools.discard(pool)

    def set_sync_debug_mode(self, mode: str) -> None:
        """Whether a wait raises."""
        self.gpu.sync_raises = mode == "error"

    def names(self) -> dict[str, Any]:
        """What replaces the attributes of ``torch.cuda``."""
        gpu = self.gpu
        return {
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "current_stream": self.current_stream,
            "default_stream": self.default_stream,
            "Stream": lambda *args, **kwargs: Stream(gpu, *args, **kwargs),
            "stream": lambda stream: gpu.setting(stream=stream),
            "Event": lambda **kwargs: Event(gpu, **kwargs),
            "CUDAGraph": lambda **kwargs: Graph(gpu, **kwargs),
            "graph": self.graph,
            "graph_pool_handle": self.graph_pool_handle,
            "is_current_stream_capturing": lambda: gpu.capturing is not None,
            "synchronize": lambda device=None: gpu.wait("synchronisation", "synchronize"),
            "set_sync_debug_mode": self.set_sync_debug_mode,
            "mem_get_info": lambda device=None: (MEMORY_BYTES, MEMORY_BYTES),
            "memory_allocated": lambda device=None: 0,
            "max_memory_allocated": lambda device=None: 0,
            "reset_peak_memory_stats": lambda device=None: None,
            "empty_cache": lambda: None,
            "get_device_name": lambda device=None: gpu.name,
            "get_device_capability": lambda device=None: (9, 0),
            "init": lambda: None,
            "is_initialized": lambda: True,
            "get_rng_state": lambda device=None: self.generator.clone(),
            "set_rng_state": self.set_rng_state,
            "manual_seed": self.seed,
            "manual_seed_all": self.seed,
        }


class Autocast(torch.autocast):
    """Autocast, whose tensors are on the CPU as C++ sees them."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu", *args, **kwargs)

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self


def _load(file: Any, map_location: Any = None, **options: Any) -> Any:
    """``torch.load``: tensors go to the device of ``map_location``, else to the one that they were on."""
    loaded = REAL_LOAD(file, map_location="cpu", **options)
    if map_location is None:
        return loaded
    return tree_map(on_gpu if is_cuda(map_location) else on_cpu, loaded)


REAL_LOAD = torch.load


def _grouped(tensors: Any, with_indices: bool = False) -> Any:
    """``Optimizer._group_tensors_by_device_and_dtype``, which would name the device of the values."""
    found = _GROUPED(tensors, with_indices)
    return {
        (CUDA, dtype) if is_cuda(part[0][0].device) else (here, dtype): (part, i)
        for (here, dtype), (part, i) in found.items()
    }


_GROUPED: Any = torch.optim.Optimizer._group_tensors_by_device_and_dtype


@contextlib.contextmanager
def pretended() -> Iterator[Device]:
    """Make ``cuda:0`` usable in this thread, and in those that it starts."""
    gpu = Device()
    cuda = Cuda(gpu)
    start: Callable[[threading.Thread], None] = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

    def start_with_modes(thread: threading.Thread) -> None:
        with modes(gpu):
            start(thread)

    def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            gpu.compiled += 1
            return function(*args, **kwargs)

        return call

    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        for owner, names in (
            (torch.cuda, cuda.names()),
            (torch.optim.Optimizer, {"_group_tensors_by_device_and_dtype": staticmethod(_grouped)}),
            (torch.accelerator, {"current_stream": lambda device=None: cuda.current_stream(CUDA)}),
            (torch._C, {"_cuda_endAllocateToPool": cuda.end_pool, "_cuda_releasePool": lambda device, pool: None}),
            (torch, {"load": _load, "autocast": Autocast, "compile": compiled}),
            (threading.Thread, {"_bootstrap_inner": start_with_modes}),
        ):
            for name, value in names.items():
                stack.enter_context(mock.patch.object(owner, name, value, create=True))
        stack.enter_context(torch.serialization.safe_globals([on_gpu]))
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrite)
        current.append(gpu)
        stack.callback(current.remove, gpu)
        stack.enter_context(modes(gpu))
        yield gpu

"""Where the images of a run are stored, and how a batch of them reaches the training device.

On the device, a batch is one index operation. From host memory or a packed file, a thread gathers each batch into a
reused buffer, one batch ahead of the training step. All places give the same pixels.
"""

import os
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ltbench.data.images import Split
from ltbench.errors import InputError

Place = Literal["device", "host", "file"]
CPU = torch.device("cpu")
TRAINING_BYTES = 30_000_000_000  # of a device, kept free for everything but images
SMALL_DEVICE_SHARE = 0.25  # of the free memory, for images on a device with little more memory than that
HOST_SHARE = 0.7  # of free memory
READERS = 16  # threads that read a file: cold storage is served best by many small reads at once


def place_of(images_bytes: int, free_device_bytes: int | None, free_host_bytes: int) -> Place:
    """The fastest place with enough memory for the images and for training.

    Args:
        images_bytes: size of all splits, as they would be stored on the device.
        free_device_bytes: None where the device is the CPU: device and host memory are then the same.
        free_host_bytes: this process's share of the free host memory.
    """
    fits_host = images_bytes <= HOST_SHARE * free_host_bytes
    if free_device_bytes is None:
        return "device" if fits_host else "file"
    if images_bytes <= max(free_device_bytes - TRAINING_BYTES, SMALL_DEVICE_SHARE * free_device_bytes):
        return "device"
    return "host" if fits_host else "file"


def free_bytes(device: torch.device) -> tuple[int | None, int]:
    """Free memory of the device (None: it is the CPU) and of this machine, without regard to a container's limit."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        host = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except OSError:  # not Linux
        host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return (torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None), host


class ImageSource(Protocol):
    """The images of one split."""

    def announce(self, batches: Sequence[Tensor]) -> None:
        """Announce the batches that will be taken, in order: indices [B] each, on the CPU."""

    def take(self, index: Tensor) -> Tensor:
        """The next batch that was announced, [B, H, W, channels] uint8 on the device. It is valid until the next call.

        Args:
            index: indices [B] of the batch, on the device.
        """


class OnDevice:
    """Images on the training device.

    Args:
        pixels: [N, H, W, channels].
    """

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def announce(self, batches: Sequence[Tensor]) -> None:
        """Nothing to prepare."""

    def take(self, index: Tensor) -> Tensor:
        """See ``ImageSource``."""
        return self.pixels.index_select(0, index)


Gather = Callable[[Tensor, Tensor], None]
"""(indices [B], out [B, H, W, channels]) -> None: fill ``out`` with these images, both on the CPU."""


class Fed:
    """Batches that a thread gathers one ahead, into two reused buffers.

    For a GPU, the buffers are pinned memory and are copied on a stream of their own.

    Args:
        gather: fills a buffer.
        shape: H, W, channels.
        device: of the batches.
        dtype: of a pixel.
    """

    def __init__(
        self, gather: Gather, shape: Sequence[int], device: torch.device, dtype: torch.dtype = torch.uint8
    ) -> None:
        self.gather, self.shape, self.device, self.dtype = gather, tuple(shape), device, dtype
        self.thread = ThreadPoolExecutor(1)
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.copied = [torch.cuda.Event(), torch.cuda.Event()] if self.stream else []
        self.buffers = [torch.empty(0), torch.empty(0)]
        self.batches: list[Tensor] = []
        self.ahead: Future[Tensor] | None = None
        self.at = 0

    def announce(self, batches: Sequence[Tensor]) -> None:
        """See ``ImageSource``."""
        if self.ahead is not None:
            self.ahead.result()  # of an epoch that was interrupted
        self.batches, self.at = list(batches), 0
        self._begin()

    def take(self, index: Tensor) -> Tensor:
        """See ``ImageSource``."""
        assert self.ahead is not None and len(index) == len(self.batches[self.at]), "this batch was not announced"
        pixels, copied = self.ahead.result(), self.copied[self.at % 2] if self.copied else None
        if copied is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(copied)
            pixels.record_stream(current)
        self.at += 1
        self._begin()
        return pixels

    def _begin(self) -> None:
        self.ahead = self.thread.submit(self._load, self.at) if self.at < len(self.batches) else None

    def _load(self, at: int) -> Tensor:
        """Gather a batch, in the thread, into the buffer of the last batch but one, which is no longer used."""
        index = self.batches[at]
        if self.stream is not None:
            self.copied[at % 2].synchronize()
        if len(self.buffers[at % 2]) < len(index):
            shape = (len(index), *self.shape)
            self.buffers[at % 2] = torch.empty(shape, dtype=self.dtype, pin_memory=self.stream is not None)
        buffer = self.buffers[at % 2][: len(index)]
        self.gather(index, buffer)
        if self.stream is None:
            return buffer
        with torch.cuda.stream(self.stream):
            pixels = buffer.to(self.device, non_blocking=True)
            self.copied[at % 2].record(self.stream)
        return pixels


def from_memory(pixels: Tensor) -> Gather:
    """A function that gathers from images [N, H, W, channels] uint8 in host memory."""

    def gather(index: Tensor, out: Tensor) -> None:
        torch.index_select(pixels, 0, index, out=out)

    return gather


class FromFile:
    """Gathers from a packed file with many reads at once, which is faster than reading through its memory map.

    Args:
        split: the split, whose images are a memory map.

    Raises:
        InputError: when the images are not a memory map; on use, when the file has become shorter.
    """

    def __init__(self, split: Split) -> None:
        if not isinstance(split.images, np.memmap):
            raise InputError("these images have no packed file, only image folders do; use --images-in host", "file")
        self.split, self.path, self.offset = split, str(split.images.filename), split.images.offset
        self.file = os.open(self.path, os.O_RDONLY)
        self.readers = ThreadPoolExecutor(READERS)
        weakref.finalize(self, os.close, self.file)

    def __call__(self, index: Tensor, out: Tensor) -> None:
        """See ``Gather``."""
        rows = index.numpy() if self.split.rows is None else self.split.rows[index.numpy()]
        places = out.numpy().reshape(len(rows), -1)

        def read(part: slice) -> None:
            for row, place in zip(rows[part].tolist(), places[part], strict=True):
                if os.preadv(self.file, [place], self.offset + row * place.nbytes) != place.nbytes:
                    raise InputError(f"image cache {self.path} was cut short while in use; run the command again")

        list(self.readers.map(read, (slice(reader, None, READERS) for reader in range(READERS))))


_uploaded: weakref.WeakKeyDictionary[Split, weakref.WeakValueDictionary[str, Tensor]] = weakref.WeakKeyDictionary()


def uploaded(split: Split, device: torch.device) -> Tensor:
    """All images of a split on a device, [N, H, W, channels]; runs at the same time share one copy."""
    copies = _uploaded.setdefault(split, weakref.WeakValueDictionary())
    if (found := copies.get(str(device))) is not None:
        return found
    pixels = torch.empty((len(split), *split.images.shape[1:]), dtype=_dtype(split), device=device)
    done = 0
    for chunk in split.chunks():
        pixels[done : done + len(chunk)] = torch.tensor(chunk)
        done += len(chunk)
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()  # runs on other streams may use the copy from now on
    copies[str(device)] = pixels
    return pixels


def source_of(split: Split, place: Place, device: torch.device) -> ImageSource:
    """The images of a split, stored in ``place``.

    Raises:
        InputError: when they are to be read from a packed file and have none.
    """
    if place == "device":
        return OnDevice(uploaded(split, device))
    gather = from_memory(uploaded(split, CPU)) if place == "host" else FromFile(split)
    return Fed(gather, split.images.shape[1:], device, _dtype(split))


def _dtype(split: Split) -> torch.dtype:
    return torch.uint8 if split.images.dtype == np.uint8 else torch.float32

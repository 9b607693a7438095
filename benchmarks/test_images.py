"""The data path of larger images: decoding, gathering, cropping; each way against the one it replaces, in turn.

``pytest benchmarks/test_images.py -s [--images FOLDER] [--rounds 5]``; with ``--images`` CIFAR-10 is up-sampled to each
side, without it the images are generated. On a machine with a GPU the crops are measured there too.
"""

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmarks.in_turn import in_turn
from ltbench.data import Split, folder
from ltbench.data.images import ImageSet
from ltbench.engine.augment import resized
from ltbench.engine.image_source import FromFile, from_memory

BATCH = 256
CROPS = {64: 64, 256: 224}
COUNTS = {64: 8192, 256: 2048}  # 100 MB and 400 MB decoded
SIDES = pytest.mark.parametrize("side", CROPS)
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.fixture(scope="module")
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """For a side in pixels, a folder of JPEG files of that size in 4 classes."""
    given = request.config.getoption("--images")
    originals = sorted(p for p in Path(given).rglob("*") if p.suffix in folder.EXTENSIONS) if given else []
    root, generator = tmp_path_factory.mktemp("folders"), np.random.default_rng(0)

    def make(side: int) -> Path:
        at = root / str(side)
        for number in range(0 if at.exists() else COUNTS[side]):
            if originals:
                image = Image.open(originals[number % len(originals)]).convert("RGB")
            else:
                image = Image.fromarray(generator.integers(256, size=(32, 32, 3), dtype=np.uint8))
            (at / str(number % 4)).mkdir(parents=True, exist_ok=True)
            image.resize((side, side), Image.Resampling.BICUBIC).save(at / str(number % 4) / f"{number}.jpg")
        return at

    return make


@pytest.fixture(scope="module")
def packs(folders: Callable[[int], Path]) -> Callable[[int], ImageSet]:
    """For a side in pixels, its folder read through the packed file."""
    return lambda side: folder.read(folders(side), str(side), None, folders(side).parent / "cache")


def race(benchmark: Any, what: str, sides: dict[str, Callable[[], Any]], rounds: int) -> None:
    """Time what ltbench does, the first of two ways of doing the same, in turn with the other one."""
    (ours, side), (over, other) = sides.items()
    ratio = in_turn(benchmark, side, other, rounds, over)
    median = 1000 * benchmark.stats.stats.median
    print(f"\n{what}: {ours} {median:.2f} ms, {over} {median / ratio:.2f} ms ({1 / ratio:.2f} x)", flush=True)


@SIDES
def test_reading_a_folder(
    benchmark: Any, folders: Callable[[int], Path], tmp_path: Path, rounds: int, side: int
) -> None:
    """A folder that was read before, against its first time."""
    root, fresh = folders(side), iter(range(rounds + 1))
    folder.read(root, "x", None, tmp_path / "cache")
    sides = {
        "packed": lambda: folder.read(root, "x", None, tmp_path / "cache"),
        "decoded": lambda: folder.read(root, "x", None, tmp_path / str(next(fresh))),
    }
    race(benchmark, f"{COUNTS[side]} images of {side} pixels", sides, rounds)
    speed = COUNTS[side] / statistics.median(benchmark.extra_info["other_seconds"])
    benchmark.extra_info.update(decoded_images_per_s=speed)
    print(f"decoded and packed: {speed:.0f} images/s on {os.cpu_count()} cores")


@SIDES
def test_gathering_from_memory(benchmark: Any, packs: Callable[[int], ImageSet], rounds: int, side: int) -> None:
    """Ten random batches into a reused buffer, against advanced indexing."""
    split = packs(side).train
    pixels = torch.tensor(np.ascontiguousarray(split.pixels()))
    batches, buffer = _batches(len(split)), torch.empty((BATCH, side, side, 3), dtype=torch.uint8)
    gather = from_memory(pixels)
    sides = {
        "index_select(out=)": lambda: [gather(index, buffer) for index in batches],
        "x[index]": lambda: [pixels[index] for index in batches],
    }
    race(benchmark, f"10 batches of {BATCH} images of {side} pixels from memory", sides, rounds)


@SIDES
@pytest.mark.parametrize("cached", [True, False], ids=["warm", "cold"])
def test_gathering_from_the_file(
    benchmark: Any, packs: Callable[[int], ImageSet], rounds: int, side: int, cached: bool
) -> None:
    """Ten random batches by many reads, against its memory map; cold: the system was told to forget the file."""
    split = packs(side).train
    gather = FromFile(split)
    batches, buffer = _batches(len(split)), torch.empty((BATCH, side, side, 3), dtype=torch.uint8)
    if not cached and not hasattr(os, "posix_fadvise"):
        pytest.skip("this system cannot be told to forget a file")

    def forget() -> None:
        if not cached:
            os.posix_fadvise(gather.file, 0, 0, os.POSIX_FADV_DONTNEED)

    def by_map(split: Split) -> None:
        forget()
        mapped = np.memmap(gather.path, np.uint8, "r", gather.offset, split.images.shape)  # none of it mapped yet
        for index in batches:
            buffer.numpy()[:] = mapped[index.numpy()]

    def by_reads() -> None:
        forget()
        for index in batches:
            gather(index, buffer)

    sides = {"pread": by_reads, "memory map": lambda: by_map(split)}
    race(benchmark, f"10 batches of {BATCH} images of {side} pixels from the file", sides, rounds)


@SIDES
@pytest.mark.parametrize("device", DEVICES)
def test_random_resized_crops(
    benchmark: Any, packs: Callable[[int], ImageSet], rounds: int, side: int, device: str
) -> None:
    """A batch through both back ends; the first is the one that the device uses."""
    images = 64
    pixels = torch.tensor(np.ascontiguousarray(packs(side).train.pixels()[:images]), device=device)
    drawn = torch.from_numpy(resized.draw_crops(images, side, side, np.random.default_rng(0)))

    def at_once() -> Tensor:
        out = resized.at_once(pixels, drawn.to(device), CROPS[side])
        if device == "cuda":
            torch.cuda.synchronize()
        return out

    def one_by_one() -> Tensor:
        return resized.one_by_one(pixels.cpu(), drawn, CROPS[side]).to(device)

    both = {"one by one": one_by_one, "at once": at_once}
    order = list(both)[:: 1 if device == "cpu" else -1]
    race(benchmark, f"{images} crops {side} to {CROPS[side]} on {device}", {name: both[name] for name in order}, rounds)


def _batches(images: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(images, (BATCH,), generator=generator) for _ in range(10)]

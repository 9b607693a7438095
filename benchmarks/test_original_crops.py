"""Random-resized crops of the original files, as the papers on ImageNet-LT take them, against those of the packed file.

``pytest benchmarks/test_original_crops.py -s [--rounds 5]``: JPEG files of 500x375 pixels (a usual size in ImageNet),
made of smoothed noise; crops of 224x224; one process, one thread for each way.
"""

import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import InterpolationMode, RandomResizedCrop

from benchmarks.test_images import race
from ltbench.data import folder
from ltbench.engine.augment import resized
from ltbench.engine.image_source import FromFile

IMAGES, SIZE, SIDE, CROP, LARGE = 200, (500, 375), 256, 224, 115_846  # LARGE: the training images of ImageNet-LT


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of JPEG files in two classes."""
    root, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(IMAGES):
        noise = Image.fromarray(generator.integers(256, size=(SIZE[1], SIZE[0], 3), dtype=np.uint8))
        at = root / str(number % 2)
        at.mkdir(exist_ok=True)
        noise.filter(ImageFilter.GaussianBlur(1)).save(at / f"{number}.jpg", quality=90)
    return root


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Limit torch to one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_crops_of_the_original_files(benchmark: Any, photos: Path, tmp_path: Path, rounds: int) -> None:
    """A crop of every image, and what the difference costs in an epoch of ImageNet-LT on this machine."""
    files = sorted(photos.rglob("*.jpg"))
    split = folder.read(photos, "photos", SIDE, tmp_path / "cache").train
    gather, generator = FromFile(split), np.random.default_rng(0)
    buffer = torch.empty((len(split), SIDE, SIDE, 3), dtype=torch.uint8)
    crop = RandomResizedCrop(CROP, interpolation=InterpolationMode.BILINEAR)

    def packed() -> None:
        gather(torch.randperm(len(split)), buffer)
        resized.one_by_one(buffer, torch.from_numpy(resized.draw_crops(len(split), SIDE, SIDE, generator)), CROP)

    def original() -> None:
        for file in files[: len(split)]:
            with Image.open(file) as image:
                np.asarray(crop(image.convert("RGB")))

    race(benchmark, f"{len(split)} crops of {CROP} pixels", {"packed": packed, "original files": original}, rounds)
    medians = {"packed": benchmark.stats.stats.median}
    medians["original files"] = statistics.median(benchmark.extra_info["other_seconds"])
    per_image = {way: seconds / len(split) for way, seconds in medians.items()}
    kilobytes = sum(file.stat().st_size for file in files) / len(files) / 1e3
    for way, seconds in per_image.items():
        print(f"{way}: {1000 * seconds:.2f} ms an image, {1 / seconds:.0f} images/s")
    cores = os.cpu_count() or 1
    further = (per_image["original files"] - per_image["packed"]) * LARGE / cores / 60
    print(f"{kilobytes:.0f} kB a file; {further:.1f} minutes more for an epoch of ImageNet-LT on {cores} cores")

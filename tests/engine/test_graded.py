"""The operations of graded augmentation against those that CUDA's authors do with PIL."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps

from ltbench.check.pretended import Device
from ltbench.engine.augment.graded import ALL_KINDS, graded_arguments
from ltbench.engine.augment.kinds import FURTHER, NAMES, NUMBER
from ltbench.engine.augment.operations import KINDS, as_rows, operate
from ltbench.method.samplers import MOST_STRENGTH
from tests.engine.test_operations import pictures, rows


def enlarged(image: Any, factor: float) -> Any:
    width, height = image.size
    larger = int(width * factor), int(height * factor)
    left, top = larger[0] // 2 - width // 2, larger[1] // 2 - height // 2
    return image.resize(larger, Image.Resampling.LANCZOS).crop((left, top, left + width, top + height))


def solarized_sum(image: Any, addition: float) -> Any:
    added = np.clip(np.array(image).astype(int) + addition, 0, 255).astype(np.uint8)
    return ImageOps.solarize(Image.fromarray(added), 128)


def moved(image: Any, a: float, b: float, c: float, d: float, e: float, f: float) -> Any:
    return image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f))


THEIRS: dict[str, Callable[[Any, float], Any]] = {
    "Flip": lambda image, _: ImageOps.flip(image),
    "Mirror": lambda image, _: ImageOps.mirror(image),
    "EdgeEnhance": lambda image, _: image.filter(ImageFilter.EDGE_ENHANCE),
    "Detail": lambda image, _: image.filter(ImageFilter.DETAIL),
    "Smooth": lambda image, _: image.filter(ImageFilter.SMOOTH),
    "GaussianBlur": lambda image, value: image.filter(ImageFilter.GaussianBlur(value)),
    "ResizeCrop": enlarged,
    "SolarizeAdd": solarized_sum,
    "TranslateX": lambda image, value: moved(image, 1, 0, -value, 0, 1, 0),  # here to the right
    "TranslateY": lambda image, value: moved(image, 1, 0, 0, 0, 1, -value),
    "Rotate": lambda image, value: image.rotate(value),
}


def test_every_operation_is_one_of_autoaugment_or_compared_here() -> None:
    assert set(FURTHER) <= set(THEIRS)
    assert len(NUMBER) - 1 == 22  # and "Identity"
    assert sorted(name for _, own in ALL_KINDS for name in own) == sorted(set(NUMBER) - {"Identity"})
    assert not {name for _, own in KINDS for name in own} & set(FURTHER)


@pytest.mark.parametrize(("height", "width", "channels"), [(32, 32, 3), (21, 28, 3), (28, 20, 1)])
@pytest.mark.parametrize("name", THEIRS)
def test_an_operation_is_the_authors_at_every_strength(name: str, height: int, width: int, channels: int) -> None:
    pixels = pictures(height, width, channels)
    for value in np.unique(graded_arguments(height, width)[:, NUMBER[name]]).tolist():
        found = operate(pixels, rows(name, value, len(pixels)), ALL_KINDS).int()
        for image, ours in zip(pixels, found, strict=True):
            picture = Image.fromarray(image.numpy() if channels == 3 else image[:, :, 0].numpy())
            theirs = torch.from_numpy(np.array(THEIRS[name](picture, value))).int().view(ours.shape)
            most = 2 if name == "ResizeCrop" else 1  # PIL has its weights in integers
            assert (ours - theirs).abs().max() <= most, value


@pytest.mark.parametrize("name", sorted(set(NUMBER) - set(THEIRS)))
def test_other_operations_are_those_of_autoaugment(name: str) -> None:
    pixels = pictures(20, 28, 3)
    for value in np.unique(graded_arguments(20, 28)[:, NUMBER[name]]).tolist():
        drawn = rows(name, value, len(pixels))
        inside = slice(None) if not name.startswith("Shear") else operate(pixels, drawn) != 128
        assert torch.equal(operate(pixels, drawn, ALL_KINDS)[inside], operate(pixels, drawn)[inside])


def test_a_gpu_gives_the_pixels_of_the_cpu_and_waits_for_nothing(gpu: Device | None) -> None:
    """Every operation at every strength."""
    table = graded_arguments(20, 28)
    numbers = np.repeat(np.arange(len(NAMES) + len(FURTHER)), 2 * (MOST_STRENGTH + 1))
    drawn = torch.from_numpy(as_rows(numbers[None], table.transpose(1, 0, 2).reshape(1, -1)))
    for picture in pictures(20, 28, 3):
        pixels = picture.repeat(len(numbers), 1, 1, 1)
        on_gpu = pixels.cuda(), drawn.cuda()
        waits = len(gpu.waits) if gpu else 0
        found = operate(*on_gpu, ALL_KINDS)
        assert gpu is None or gpu.waits[waits:] == []
        assert torch.equal(found.cpu(), operate(pixels, drawn, ALL_KINDS))

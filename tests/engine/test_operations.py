"""The operations of strong augmentations against torchvision's on PIL images."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as vision

from ltbench.check.pretended import Device
from ltbench.engine.augment.geometry import FILL
from ltbench.engine.augment.kinds import NAMES, NUMBER
from ltbench.engine.augment.operations import arguments, as_rows, operate

STRENGTHS = 31


def sheared(image: Any, x: float, y: float) -> Any:
    degrees = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return vision.affine(image, 0.0, [0, 0], 1.0, degrees, fill=FILL, center=[0, 0])


def shifted(image: Any, x: float, y: float) -> Any:
    return vision.affine(image, 0.0, [int(x), int(y)], 1.0, [0.0, 0.0], fill=FILL)


THEIRS: dict[str, Callable[[Any, float], Any]] = {
    "Identity": lambda image, _: image,
    "ShearX": lambda image, value: sheared(image, value, 0),
    "ShearY": lambda image, value: sheared(image, 0, value),
    "TranslateX": lambda image, value: shifted(image, value, 0),
    "TranslateY": lambda image, value: shifted(image, 0, value),
    "Rotate": lambda image, value: vision.rotate(image, value, fill=FILL),
    "Brightness": vision.adjust_brightness,
    "Color": vision.adjust_saturation,
    "Contrast": vision.adjust_contrast,
    "Sharpness": vision.adjust_sharpness,
    "Posterize": lambda image, value: vision.posterize(image, int(value)),
    "Solarize": vision.solarize,
    "AutoContrast": lambda image, _: vision.autocontrast(image),
    "Equalize": lambda image, _: vision.equalize(image),
    "Invert": lambda image, _: vision.invert(image),
}


def pictures(height: int, width: int, channels: int) -> torch.Tensor:
    """Noise, noise of few levels, a single level, smooth colours, and two levels."""
    random = np.random.default_rng(0)
    noise = random.integers(256, size=(height, width, channels))
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([4 * x, 5 * y, 3 * (x + y)], axis=-1)[:, :, :channels]
    two = np.where(noise < 250, 30, 31)
    every = [noise, noise // 4 + 40, np.full_like(noise, 77), smooth, two]
    return torch.from_numpy(np.stack(every).astype(np.uint8))


def rows(name: str, value: float, images: int) -> torch.Tensor:
    return torch.from_numpy(as_rows(np.full((1, images), NUMBER[name]), np.full((1, images), value)))


def test_every_operation_is_compared() -> None:
    assert set(THEIRS) == set(NAMES)


@pytest.mark.parametrize(("height", "width", "channels"), [(32, 32, 3), (20, 28, 3), (28, 20, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_torchvisions_over_its_range(name: str, height: int, width: int, channels: int) -> None:
    pixels = pictures(height, width, channels)
    for value in np.unique(arguments(STRENGTHS, height, width)[:, NUMBER[name]]).tolist():
        found = operate(pixels, rows(name, value, len(pixels))).int()
        for image, ours in zip(pixels, found, strict=True):
            picture = Image.fromarray(image.numpy() if channels == 3 else image[:, :, 0].numpy())
            theirs = np.array(THEIRS[name](picture, value)).reshape(ours.shape)
            assert (ours - torch.from_numpy(theirs).int()).abs().max() <= 1, value


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_changes_an_image_unless_its_strength_is_zero(name: str) -> None:
    pixels = pictures(32, 32, 3)[1:2]
    weakest, strongest = arguments(STRENGTHS, 32, 32)[1, NUMBER[name], [0, -1]].tolist()
    assert torch.equal(operate(pixels, rows(name, strongest, 1)), pixels) == (name == "Identity")
    unchanged = torch.equal(operate(pixels, rows(name, weakest, 1)), pixels)
    assert unchanged == (name not in ("AutoContrast", "Equalize", "Invert"))


def test_each_image_of_a_batch_undergoes_its_own_operations_in_order() -> None:
    random = np.random.default_rng(1)
    table = arguments(STRENGTHS, 20, 28)[:, : len(NAMES)]
    numbers, strengths = random.integers(len(NAMES), size=(3, 200)), random.integers(STRENGTHS, size=(3, 200))
    drawn = torch.from_numpy(as_rows(numbers, table[1, numbers, strengths]))
    pixels = pictures(20, 28, 3).repeat(40, 1, 1, 1)
    before = pixels.clone()
    found = operate(pixels, drawn)
    assert torch.equal(pixels, before)
    for i in range(len(pixels)):
        alone = pixels[i : i + 1]
        for step in range(3):
            alone = operate(alone, drawn[2 * step : 2 * step + 2, i : i + 1])
        assert torch.equal(found[i], alone[0])


def test_a_gpu_gives_the_pixels_of_the_cpu_and_waits_for_nothing(gpu: Device | None) -> None:
    """Every operation at every strength."""
    table = arguments(STRENGTHS, 20, 28)[:, : len(NAMES)]
    numbers = np.repeat(np.arange(len(NAMES)), 2 * STRENGTHS)
    drawn = torch.from_numpy(as_rows(numbers[None], table.transpose(1, 0, 2).reshape(1, -1)))
    for picture in pictures(20, 28, 3):
        pixels = picture.repeat(len(numbers), 1, 1, 1)
        on_gpu = pixels.cuda(), drawn.cuda()
        waits = len(gpu.waits) if gpu else 0
        found = operate(*on_gpu)
        assert gpu is None or gpu.waits[waits:] == []
        assert torch.equal(found.cpu(), operate(pixels, drawn))

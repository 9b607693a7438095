"""Random-resized crops: torchvision's distribution and pixels, and two back ends that agree."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as vision

from ltbench.check.pretended import Device
from ltbench.engine.augment import resized


def crops(draws: int, height: int, width: int) -> Tensor:
    return torch.from_numpy(resized.draw_crops(draws, height, width, np.random.default_rng(0)))


def pictures(n: int, height: int, width: int, channels: int = 3) -> Tensor:
    pixels = np.random.default_rng(1).integers(256, size=(n, height, width, channels), dtype=np.uint8)
    return torch.from_numpy(pixels)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 90), (20, 100)])
def test_crops_have_torchvisions_distribution(height: int, width: int) -> None:
    found = crops(4000, height, width).double()
    top, left, tall, wide = found.unbind()
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + tall <= height).all() and (left + wide <= width).all()
    picture = torch.zeros(3, height, width)
    wanted = torch.tensor(
        [RandomResizedCrop.get_params(picture, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)], dtype=torch.float64
    ).T
    for ours, theirs in zip(found, wanted, strict=True):
        standard_error = math.sqrt((ours.var() + theirs.var()) / 4000)
        assert abs(ours.mean() - theirs.mean()) < 5 * standard_error + 1e-9
        assert ours.std() == pytest.approx(float(theirs.std()), rel=0.1, abs=1e-9)


def test_an_image_too_narrow_for_any_try_gives_its_centre() -> None:
    found = crops(50, 8, 200)
    assert (found.T == torch.tensor([0, 94, 8, 11])).all(dim=1).any()


@pytest.mark.parametrize(("side", "source", "channels"), [(24, 32, 3), (24, 32, 1), (64, 48, 3), (16, 96, 3)])
def test_one_by_one_equals_torchvision(side: int, source: int, channels: int) -> None:
    pixels, drawn = pictures(16, source, source, channels), crops(16, source, source)
    found = resized.one_by_one(pixels, drawn, side)
    for image, (top, left, height, width), ours in zip(pixels, drawn.T.tolist(), found, strict=True):
        theirs = vision.resized_crop(image.permute(2, 0, 1), top, left, height, width, [side, side], antialias=True)
        assert torch.equal(ours, theirs.permute(1, 2, 0))


@pytest.mark.parametrize(("side", "source"), [(24, 32), (64, 48), (16, 96), (32, 32)])
def test_both_back_ends_agree_but_for_rounding(side: int, source: int) -> None:
    pixels, drawn = pictures(32, source, source), crops(32, source, source)
    one, other = (take(pixels, drawn, side).int() for take in (resized.one_by_one, resized.at_once))
    difference = (one - other).abs()
    assert difference.max() <= 2
    assert difference.double().mean() < 0.08


def test_the_weights_are_those_of_interpolate() -> None:
    """Before rounding to grey levels, of 255."""
    drawn = crops(8, 96, 96)
    pixels = pictures(8, 96, 96).float()
    rows = resized.weights(drawn[0], drawn[2], 96, 40)
    columns = resized.weights(drawn[1], drawn[3], 96, 40)
    found = torch.einsum("bsh,btw,bhwc->bstc", rows, columns, pixels)
    for image, (top, left, height, width), ours in zip(pixels, drawn.T.tolist(), found, strict=True):
        part = image[top : top + height, left : left + width].permute(2, 0, 1)[None]
        theirs = F.interpolate(part, size=(40, 40), mode="bilinear", antialias=True)[0]
        assert (ours.permute(2, 0, 1) - theirs).abs().max() < 0.003


@pytest.mark.parametrize("source", [32, 33])
def test_the_centre_is_torchvisions(source: int) -> None:
    pixels = pictures(2, source, source)
    theirs = vision.center_crop(pixels.permute(0, 3, 1, 2), [24, 24])
    assert torch.equal(resized.centre(pixels, 24), theirs.permute(0, 2, 3, 1))


def test_the_gpu_takes_the_crops_of_the_cpu(gpu: Device | None) -> None:
    pixels, drawn = pictures(32, 96, 96), crops(32, 96, 96)
    found = resized.at_once(pixels.cuda(), drawn.cuda(), 64).cpu()
    assert (found.int() - resized.one_by_one(pixels, drawn, 64).int()).abs().max() <= 2

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as vision

from ltbench.engine.augment.jitter import Jitter


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_those_of_torchvision(channels: int) -> None:
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.integers(256, size=(24, 20, 16, channels), dtype=np.uint8))
    factors = Jitter(0.4).draw(24, generator)
    found = Jitter(0.4).apply(pixels, torch.from_numpy(factors))
    for image, (brightness, contrast, saturation), ours in zip(
        pixels, factors.view(np.float64).T.tolist(), found, strict=True
    ):
        theirs = vision.adjust_brightness(image.permute(2, 0, 1), brightness)
        theirs = vision.adjust_saturation(vision.adjust_contrast(theirs, contrast), saturation)
        difference = (ours.permute(2, 0, 1).int() - theirs.int()).abs()
        assert difference.max() <= 1  # the mean of an image is summed in another order
        assert (difference > 0).double().mean() < 0.01


def test_factors_lie_evenly_in_their_range() -> None:
    factors = Jitter(0.4).draw(10_000, np.random.default_rng(0)).view(np.float64)
    assert factors.shape == (3, 10_000)
    assert 0.6 <= factors.min() < 0.601
    assert 1.399 < factors.max() <= 1.4
    assert factors.mean(axis=1) == pytest.approx([1, 1, 1], abs=0.01)

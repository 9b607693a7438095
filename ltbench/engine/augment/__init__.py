"""Augmentations, one file each. A new one needs its file and a line in ``augmentations``."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.augment.autoaugment import AutoAugment
from ltbench.engine.augment.cutout import Cutout
from ltbench.engine.augment.jitter import Jitter
from ltbench.engine.augment.padded import PaddedCrop
from ltbench.engine.augment.randaugment import RandAugment
from ltbench.engine.augment.resized import ResizedCrop
from ltbench.plan.recipe import Recipe


class Augmentation(Protocol):
    """Changes training images by random numbers that are drawn beforehand, for all images of an epoch.

    Attributes:
        rows: number of random numbers for each image. They are rows of the epoch's plan (see `epoch_plan`).
    """

    rows: int

    def draw(self, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Random numbers [rows, draws] for the images of an epoch; real numbers as the bits of float64."""

    def apply(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """Images [B, H, W, channels] uint8 and their random numbers [rows, B] -> [B, H', W', channels] uint8.

        A step may be captured in a CUDA graph, so images on a GPU must stay there.
        """


def augmentations(recipe: Recipe, height: int, width: int) -> tuple[Augmentation, ...]:
    """The augmentations of a recipe for images of this size, in the order in which they are drawn and applied."""
    crop = (
        PaddedCrop(recipe.crop_padding, recipe.flip)
        if recipe.resized_crop is None
        else ResizedCrop(recipe.resized_crop, height, width, recipe.flip)
    )
    jitter = (Jitter(recipe.jitter),) if recipe.jitter else ()
    return (crop, *jitter, *_strong(recipe, *recipe.input_size(height, width)))


def _strong(recipe: Recipe, height: int, width: int) -> Iterator[Augmentation]:
    """The augmentations that ``recipe.augment`` names, for cropped images of this size."""
    named = recipe.augment.split("+")
    if "autoaugment" in named:
        yield AutoAugment(height, width)
    if "randaugment" in named:
        yield RandAugment(recipe.randaugment_operations, recipe.randaugment_magnitude, height, width)
    if "cutout" in named:
        yield Cutout(recipe.cutout_side, height, width)

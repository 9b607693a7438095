"""Augmentations, one file each. A new one needs its file and a line in ``augmentations``."""

from collections.abc import Collection
from typing import Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.augment.autoaugment import AutoAugment
from ltbench.engine.augment.cutout import Cutout
from ltbench.engine.augment.graded import Graded
from ltbench.engine.augment.jitter import Jitter
from ltbench.engine.augment.padded import PaddedCrop
from ltbench.engine.augment.randaugment import RandAugment
from ltbench.engine.augment.resized import ResizedCrop
from ltbench.errors import unknown
from ltbench.plan.recipe import Recipe, Strong


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


@runtime_checkable
class StrongAugmentation(Augmentation, Protocol):
    """An augmentation that not all streams have.

    Attributes:
        name: by which a recipe or a stream asks for it.
        idle: the random number that leaves an image as it is if all its rows have it.
    """

    name: str
    idle: int


def augmentations(
    recipe: Recipe, height: int, width: int, others: Collection[str] = (), graded: bool = False
) -> tuple[Augmentation, ...]:
    """The augmentations of a recipe for images of this size, in the order in which they are drawn and applied.

    Args:
        recipe: of the run.
        height, width: size of the images in pixels.
        others: strong augmentations that streams ask for, such as ``"autoaugment+cutout"``.
        graded: whether a stream has operations as strong as the class of an image allows.

    Raises:
        InputError: for a name in ``others`` that does not exist.
    """
    for asked in others:
        if asked not in get_args(Strong):
            raise unknown("augmentation of a stream", asked, get_args(Strong))
    crop = (
        PaddedCrop(recipe.crop_padding, recipe.flip)
        if recipe.resized_crop is None
        else ResizedCrop(recipe.resized_crop, height, width, recipe.flip)
    )
    jitter = (Jitter(recipe.jitter),) if recipe.jitter else ()
    cropped = recipe.input_size(height, width)
    # 16 of 32 pixels on CIFAR; a recipe without Cutout has no side that fits its images
    side = recipe.cutout_side if "cutout" in named_in(recipe.augment) else min(cropped) // 2
    strong: tuple[StrongAugmentation, ...] = (
        AutoAugment(*cropped),
        RandAugment(recipe.randaugment_operations, recipe.randaugment_magnitude, *cropped),
    )
    named = named_in(recipe.augment, *others)
    by_class = (Graded(*cropped),) if graded else ()
    cutout = (Cutout(side, *cropped),) if Cutout.name in named else ()
    return (crop, *jitter, *(one for one in strong if one.name in named), *by_class, *cutout)


def named_in(*augment: str) -> set[str]:
    """The strong augmentations that are named in values such as ``"autoaugment+cutout"``."""
    return {name for value in augment for name in value.split("+")}

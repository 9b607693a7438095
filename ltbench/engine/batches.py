"""Augmented batches for training and plain ones for evaluation, wherever the images are stored."""

import copy
from collections.abc import Iterator, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor

from ltbench.data.images import LongTailed, Split
from ltbench.engine.augment import Augmentation, augmentations
from ltbench.engine.augment.padded import PaddedCrop
from ltbench.engine.augment.resized import centre
from ltbench.engine.epoch_plan import split as parts_of
from ltbench.engine.image_source import Fed, ImageSource, Place, free_bytes, place_of, source_of
from ltbench.plan.recipe import Recipe
from ltbench.randomness import generator


class Normaliser:
    """uint8 [B, H, W, channels] -> normalised float32 [B, channels, H, W] in channels-last layout.

    Args:
        mean, std: of each channel, in [0, 1].
        device: of the images.
        white: value of a pixel that counts as 1; of features it is 1.

    Attributes:
        mean, std: [channels, 1, 1], on the device.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device, white: float = 255.0) -> None:
        own = (torch.tensor(values, dtype=torch.float32, device=device) for values in (mean, std))
        self.mean, self.std = (values[:, None, None] for values in own)
        self.shift = self.mean.flatten() * white
        self.scale = 1 / (self.std.flatten() * white)

    def __call__(self, pixels: Tensor) -> Tensor:
        """(pixel / white - mean) / std."""
        return pixels.float().sub_(self.shift).mul_(self.scale).permute(0, 3, 1, 2)


class TrainingSet(Protocol):
    """Augmented batches by the plan of an epoch.

    Attributes:
        augmentations: whose rows the plan has, in the order in which they are applied.
        eager_only: why a step with its batches cannot be captured; empty where it can.
    """

    augmentations: Sequence[Augmentation]
    eager_only: str

    def with_strong(self, augmentations: Sequence[Augmentation]) -> Self:
        """The same images with these augmentations, which are those of the recipe and further strong ones."""

    def begin(self, plan: Tensor, batch_size: int) -> None:
        """Call before an epoch whose steps take the plan [R, S, draws] (on the CPU) in order, by ``batch_size``."""

    def batch(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, H, W, channels] and labels [B] for the columns [R, B] of a plan."""


class Streamed:
    """A training set whose batches are taken from an image source and then augmented.

    Args:
        source: the images.
        labels: [N], on the device.
        augmentations: of the images.
    """

    def __init__(self, source: ImageSource, labels: Tensor, augmentations: Sequence[Augmentation]) -> None:
        self.source, self.labels, self.augmentations = source, labels, augmentations
        self.eager_only = "images are not on the device" if isinstance(source, Fed) else ""

    def with_strong(self, augmentations: Sequence[Augmentation]) -> Self:
        """See ``TrainingSet``."""
        return type(self)(self.source, self.labels, augmentations)

    def begin(self, plan: Tensor, batch_size: int) -> None:
        """See ``TrainingSet``."""
        index, _, _ = parts_of(plan, self.augmentations)
        self.source.announce([part.flatten() for part in index.split(batch_size, dim=1)])

    def batch(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TrainingSet``."""
        index, rows, _ = parts_of(columns, self.augmentations)
        return _augmented(self.source.take(index), self.augmentations, rows), self.labels[index]


class Resident:
    """A training set with all padded crops on the device, so that taking, mirroring and cropping are one operation.

    Args:
        pixels: [N, H, W, channels] uint8, on the device.
        labels: [N], on the device.
        crop: the first augmentation.
        others: the augmentations after it.
    """

    eager_only = ""

    def __init__(self, pixels: Tensor, labels: Tensor, crop: PaddedCrop, others: Sequence[Augmentation]) -> None:
        self.crops, self.labels, self.others = crop.resident(pixels), labels, others
        self.augmentations: Sequence[Augmentation] = (crop, *others)

    def with_strong(self, augmentations: Sequence[Augmentation]) -> Self:
        """See ``TrainingSet``."""
        same = copy.copy(self)
        _, *same.others = same.augmentations = tuple(augmentations)
        return same

    def begin(self, plan: Tensor, batch_size: int) -> None:
        """Nothing to prepare."""

    def batch(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TrainingSet``."""
        index, (crop, *rows), _ = parts_of(columns, self.augmentations)
        mirrored, top, left = crop.unbind()
        return _augmented(self.crops[mirrored, index, top, left], self.others, rows), self.labels[index]


def _augmented(pixels: Tensor, augmentations: Sequence[Augmentation], rows: Sequence[Tensor]) -> Tensor:
    """Images after these augmentations, each with its rows of the plan."""
    for augmentation, own in zip(augmentations, rows, strict=True):
        pixels = augmentation.apply(pixels, own)
    return pixels


class HeldOut:
    """A split for evaluation: its images, or their centres where the recipe takes resized crops.

    Args:
        source: the images.
        labels: [N], on the device.
        side: of the centre, in pixels; None: the images as they are.
        order: [N] int64, the order in which they are evaluated, on the CPU.
    """

    def __init__(self, source: ImageSource, labels: Tensor, side: int | None, order: Tensor) -> None:
        self.source, self.labels, self.side, self.order = source, labels, side, order

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images uint8 [B, H, W, channels] and labels [B] in ``order``; the last batch contains the rest."""
        self.source.announce(self.order.split(size))
        for index in self.order.to(self.labels.device).split(size):
            pixels = self.source.take(index)
            yield pixels if self.side is None else centre(pixels, self.side), self.labels[index]

    def in_place(self, values: Tensor) -> Tensor:
        """Values [..., N] of the images in ``order``, put into the order of the split."""
        placed = torch.empty_like(values)
        placed[..., self.order.to(values.device)] = values
        return placed


def place_for(data: LongTailed, recipe: Recipe, device: torch.device, processes: int) -> Place:
    """The place that the size rule chooses for the images of a run.

    Args:
        processes: number of processes that share the memory of this machine.
    """
    splits = [split for split in (data.train, data.val, data.test) if split is not None]
    height, width = data.train.images.shape[1:3]
    crop, *_ = augmentations(recipe, height, width)
    growth = crop.growth(height, width) if isinstance(crop, PaddedCrop) else 1.0
    images_bytes = sum(split.size_bytes for split in splits) + (growth - 1) * data.train.size_bytes
    free_device, free_host = free_bytes(device)
    place = place_of(round(images_bytes), free_device, free_host // processes)
    return "host" if place == "file" and not data.train.in_file else place


def training_set(split: Split, recipe: Recipe, place: Place, device: torch.device) -> TrainingSet:
    """The training images as a recipe augments them."""
    labels = torch.tensor(split.labels, device=device)
    crop, *others = augmentations(recipe, *split.images.shape[1:3])
    if place == "device" and isinstance(crop, PaddedCrop):
        return Resident(torch.tensor(split.pixels(), device=device), labels, crop, others)
    return Streamed(source_of(split, place, device), labels, (crop, *others))


def held_out(split: Split, recipe: Recipe, place: Place, device: torch.device) -> HeldOut:
    """The images of a split as a recipe evaluates them.

    They are shuffled, always in the same way. Image folders list them class by class, so a batch in their own order
    would be a single class, and a method could see the class in the statistics of the batch.
    """
    labels = torch.tensor(split.labels, device=device)
    order = torch.from_numpy(generator("held-out order").permutation(len(split)))
    return HeldOut(source_of(split, place, device), labels, recipe.resized_crop, order)

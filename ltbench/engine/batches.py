"""Augmented training batches and plain evaluation batches, from wherever the images lie."""

from collections.abc import Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.data.images import LongTailed, Split
from ltbench.engine.augment import resized
from ltbench.engine.augment.jitter import FACTORS, jitter
from ltbench.engine.augment.padded import Resident
from ltbench.engine.image_source import Fed, Place, Store, free_bytes, place_of, store_of
from ltbench.plan.recipe import Recipe


class Crop(Protocol):
    """Crops and mirrors a batch by the first ``rows`` rows of a plan."""

    rows: int

    def __call__(self, pixels: Tensor, columns: Tensor) -> Tensor:
        """Images [B, H, W, channels] uint8 and columns [rows or more, B] -> [B, S, S, channels] uint8."""


class TrainingSet(Protocol):
    """Batches by a plan.

    Attributes:
        rows: how many of a plan's rows it reads, from the first on.
        eager_only: why a step with its batches cannot be captured; empty where it can.
    """

    rows: int
    eager_only: str

    def begin(self, drawn: Tensor, batch_size: int) -> None:
        """Before an epoch whose steps take the plan [rows, S, draws] (on the CPU) in order, by ``batch_size``."""

    def batch(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, H, W, channels] and labels [B] for the columns [rows, B] of a plan."""


class Streamed:
    """A training set whose images are cropped after they came from a store.

    Args:
        store: the images.
        labels: [N], on the device.
        crop: crops and mirrors a batch.
    """

    def __init__(self, store: Store, labels: Tensor, crop: Crop) -> None:
        self.store, self.labels, self.crop, self.rows = store, labels, crop, crop.rows
        self.eager_only = "images do not lie on the device" if isinstance(store, Fed) else ""

    def begin(self, drawn: Tensor, batch_size: int) -> None:
        """See ``TrainingSet``."""
        self.store.announce([part.flatten() for part in torch.split(drawn[1], batch_size, dim=1)])

    def batch(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TrainingSet``."""
        index = columns[1]
        return self.crop(self.store.take(index), columns), self.labels[index]


class Jittered:
    """A training set whose batches get other colours, by the rows of the plan after those of the set itself."""

    def __init__(self, images: TrainingSet) -> None:
        self.images, self.rows, self.eager_only = images, images.rows + FACTORS, images.eager_only

    def begin(self, drawn: Tensor, batch_size: int) -> None:
        """See ``TrainingSet``."""
        self.images.begin(drawn, batch_size)

    def batch(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TrainingSet``."""
        pixels, labels = self.images.batch(columns)
        return jitter(pixels, columns[self.images.rows : self.rows]), labels


class PaddedCrop:
    """What ``Resident`` does, for a batch whose images have just arrived: ``padding`` pixels on each side."""

    rows = 4

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def __call__(self, pixels: Tensor, columns: Tensor) -> Tensor:
        """See ``Crop``."""
        mirrored, _, top, left = columns[: self.rows].unbind()
        height, width = pixels.shape[1:3]
        pad = self.padding
        padded = F.pad(_mirror(pixels, mirrored), (0, 0, pad, pad, pad, pad))
        windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
        return windows[torch.arange(len(pixels), device=pixels.device), top, left]


class ResizedCrop:
    """A random resized crop of ``side`` pixels, then the mirror."""

    rows = 6

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, pixels: Tensor, columns: Tensor) -> Tensor:
        """See ``Crop``."""
        take = resized.one_by_one if pixels.device.type == "cpu" else resized.at_once
        return _mirror(take(pixels, columns[2 : self.rows], self.side), columns[0])


def _mirror(pixels: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(mirrored.bool()[:, None, None, None], pixels.flip(2), pixels)


class HeldOut:
    """A split for evaluation: its images in order, the centre of each where the recipe crops.

    Args:
        store: the images.
        labels: [N], on the device.
        side: of the centre; None: whole images.
    """

    def __init__(self, store: Store, labels: Tensor, side: int | None) -> None:
        self.store, self.labels, self.side = store, labels, side

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images uint8 [B, H, W, channels] and labels [B], the last batch with the rest."""
        self.store.announce(torch.arange(len(self.labels)).split(size))
        for index in torch.arange(len(self.labels), device=self.labels.device).split(size):
            pixels = self.store.take(index)
            yield pixels if self.side is None else resized.centre(pixels, self.side), self.labels[index]


def place_for(data: LongTailed, recipe: Recipe, device: torch.device, processes: int) -> Place:
    """Where the images of a run go by the size rule, on a machine that so many processes share."""
    splits = [split for split in (data.train, data.val, data.test) if split is not None]
    height, width = data.train.images.shape[1:3]
    growth = 1.0
    if recipe.resized_crop is None:  # padded, and with a mirrored copy: see Resident
        pad = 2 * recipe.crop_padding
        growth = (1 + recipe.flip) * (height + pad) * (width + pad) / (height * width)
    wanted = sum(split.size_bytes for split in splits) + (growth - 1) * data.train.size_bytes
    free_device, free_host = free_bytes(device)
    place = place_of(round(wanted), free_device, free_host // processes)
    return "host" if place == "file" and not data.train.in_file else place


def training_set(split: Split, recipe: Recipe, place: Place, device: torch.device) -> TrainingSet:
    """The training images as a recipe augments them."""
    labels = torch.tensor(split.labels, device=device)
    images: TrainingSet
    if recipe.resized_crop is not None:
        images = Streamed(store_of(split, place, device), labels, ResizedCrop(recipe.resized_crop))
    elif place == "device":
        images = Resident(split.pixels(), split.labels, device, recipe.crop_padding, recipe.flip)
    else:
        images = Streamed(store_of(split, place, device), labels, PaddedCrop(recipe.crop_padding))
    return Jittered(images) if recipe.jitter else images


def held_out(split: Split, recipe: Recipe, place: Place, device: torch.device) -> HeldOut:
    """Images for evaluation under a recipe."""
    labels = torch.tensor(split.labels, device=device)
    return HeldOut(store_of(split, place, device), labels, recipe.resized_crop)

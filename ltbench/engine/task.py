"""What all stages of one cell share."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ltbench.data.images import LongTailed
from ltbench.engine.batches import HeldOut, Normaliser, TrainingSet, held_out, place_for, training_set
from ltbench.engine.image_source import Place
from ltbench.method.samplers import Pool
from ltbench.plan.recipe import Recipe

Tier = Literal["eager", "graph", "compiled"]
"""How steps are run: one by one; captured in a CUDA graph; with a compiled backbone, then captured."""


@dataclass(frozen=True, eq=False)
class Task:
    """The data, the recipe and the seed of a cell, and how it is trained.

    Attributes:
        device: where to train.
        training: the training images.
        pool: the same for samplers.
        normalise: turns pixels into what the network sees.
        held_out: ``test`` and ``val``, those of them that exist.
        tier: the highest tier that steps may run in.
        images_in: where the images are stored.
        environment: what decides how numbers are rounded here, in words.
    """

    data: LongTailed
    recipe: Recipe
    seed: int
    device: torch.device
    training: TrainingSet
    pool: Pool
    normalise: Normaliser
    held_out: dict[str, HeldOut]
    tier: Tier
    images_in: Place
    environment: str = ""

    @classmethod
    def of(
        cls,
        data: LongTailed,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        *,
        tier: Tier = "eager",
        images_in: Place | Literal["auto"] = "auto",
        processes: int = 1,
        environment: str = "",
    ) -> "Task":
        """A task with its images where ``images_in`` says, or where the size rule puts them for ``auto``.

        Args:
            processes: number of processes that share the memory of this machine.

        Raises:
            InputError: when images are to be read from a packed file and have none.
        """
        place = place_for(data, recipe, device, processes) if images_in == "auto" else images_in
        splits = {"val": data.val, "test": data.test}
        weights, channels = recipe.weights, data.train.images.shape[-1]
        mean, std = (weights and weights.normalisation(channels)) or (data.mean, data.std)
        white = 255.0 if data.train.images.dtype == np.uint8 else 1.0
        return cls(
            data=data,
            recipe=recipe,
            seed=seed,
            device=device,
            training=training_set(data.train, recipe, place, device),
            pool=Pool.of(data.train.labels, len(data.counts)),
            normalise=Normaliser(mean, std, device, white),
            held_out={n: held_out(split, recipe, place, device) for n, split in splits.items() if split is not None},
            tier=tier,
            images_in=place,
            environment=environment,
        )

    def autocast(self) -> torch.autocast:
        """The context of every forward pass. Without a cache: all threads share it, and any of them may clear it."""
        enabled = self.recipe.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)

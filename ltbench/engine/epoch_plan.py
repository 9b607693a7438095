"""The plan of an epoch: all of its random numbers, drawn on the CPU before the epoch starts and uploaded once.

Every draw comes from a generator that is keyed by its purpose. So a cell sees the same batches on every device, alone
or beside other runs, resumed or not.

A plan has the shape [R, S, draws] for S streams. Its rows are the index of each image, then the random numbers of each
augmentation, then those of the method. ``split`` takes them apart again.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.augment import Augmentation, StrongAugmentation, named_in
from ltbench.engine.augment.graded import Graded
from ltbench.method.samplers import Again, Indices, Pool, Stream, augment_of, graded_of
from ltbench.randomness import generator

Strengths = Callable[[Indices], Indices]
"""The strength of augmentation of each of the images with these indices, [draws] -> [draws]."""


def draw(
    pool: Pool,
    streams: Mapping[str, Stream],
    draws: int,
    progress: float,
    augmentations: Sequence[Augmentation],
    where: tuple[object, ...],
    augment: str | None = None,
    strengths: Strengths = np.zeros_like,
) -> Tensor:
    """The plan of one epoch, without the random numbers of the method.

    Args:
        pool: the training images.
        streams: sampler of each of the S streams.
        draws: images that each stream delivers in the epoch.
        progress: epochs done / epochs of the stage.
        augmentations: of all streams.
        where: seed, stage and epoch, which key the generators.
        augment: names of the strong augmentations of the streams that ask for none (see `augment_of`), such as
            ``"autoaugment+cutout"``; None: they have all of them.
        strengths: of `Graded`.

    Returns:
        int64 [R, S, draws] on the CPU.
    """
    plan = np.empty((1 + sum(augmentation.rows for augmentation in augmentations), len(streams), draws), np.int64)
    for s, (name, sampler) in enumerate(streams.items()):
        if isinstance(sampler, Again):
            plan[0, s] = plan[0, list(streams).index(sampler.stream)]
        else:
            plan[0, s] = sampler(pool, draws, progress, generator(*where, name, "sample"))
        random = generator(*where, name, "augment")
        rows = [_rows(one, sampler, plan[0, s], augment, strengths, random) for one in augmentations]
        plan[1:, s] = np.concatenate(rows)
    return torch.from_numpy(plan)


def _rows(
    augmentation: Augmentation,
    stream: Stream,
    index: Indices,
    augment: str | None,
    strengths: Strengths,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """The random numbers [rows, draws] of an augmentation, idle ones if it is strong and the stream has others.

    Args:
        index: [draws], of the images.
        augment, strengths: see ``draw``.
    """
    if isinstance(augmentation, Graded):
        happens = random.random(len(index)) < graded_of(stream)
        return augmentation.draw_for(strengths(index) * happens, random)
    asked = augment if (own := augment_of(stream)) is None else own
    if asked is not None and isinstance(augmentation, StrongAugmentation) and augmentation.name not in named_in(asked):
        return np.full((augmentation.rows, len(index)), augmentation.idle)
    return augmentation.draw(len(index), random)


def with_noise(
    plan: Tensor, noise: Callable[[int, np.random.Generator], NDArray[np.float64]], where: tuple[object, ...]
) -> Tensor:
    """A plan [R, S, draws] with the K random numbers that a method draws for each image as rows [R + K, S, draws].

    The numbers are the same in every stream. They are stored as the bits of float64; ``noise_of`` reads them.
    """
    numbers = noise(plan.shape[2], generator(*where, "noise"))
    bits = torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.float64).view(np.int64))
    return torch.cat([plan, bits[:, None].expand(-1, plan.shape[1], -1)])


def split(plan: Tensor, augmentations: Sequence[Augmentation]) -> tuple[Tensor, list[Tensor], Tensor]:
    """The parts of a plan [R, ...]: the index [...], the rows [rows, ...] of each augmentation, and the noise [K, ...].

    They are views.
    """
    sizes = [1, *(augmentation.rows for augmentation in augmentations)]
    index, *rows, noise = plan.split([*sizes, len(plan) - sum(sizes)])
    return index[0], rows, noise


def noise_of(noise: Tensor, streams: int) -> Tensor:
    """The random numbers [K, B] float32 of a method, from the rows [K, S * B] of the plan that contain them."""
    first = noise[:, : noise.shape[1] // streams]
    return first.contiguous().view(torch.float64).float()

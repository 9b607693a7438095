"""The plan of an epoch: all of its randomness, drawn beforehand on the CPU and uploaded once.

Every draw comes from a counter-based generator keyed by what it is for, so the same cell sees the same batches on any
device, alone or beside other runs, resumed or not.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.augment import jitter as colour
from ltbench.engine.augment import resized as resized_crop
from ltbench.method.samplers import Again, Pool, Stream
from ltbench.randomness import generator


def draw(
    pool: Pool,
    streams: Mapping[str, Stream],
    draws: int,
    progress: float,
    crop_padding: int,
    flip: bool,
    where: tuple[object, ...],
    resized: tuple[int, int] | None = None,
    jitter: float = 0.0,
) -> Tensor:
    """The plan of one epoch.

    Args:
        pool: the training images.
        streams: sampler of each of the S streams.
        draws: images each stream delivers in the epoch.
        progress: epochs done / epochs of the stage.
        crop_padding, flip: the augmentation.
        where: seed, stage and epoch, which key the generators.
        resized: H, W of the images where random-resized crops are taken of them; None: padded crops.
        jitter: strength of the colour jitter.

    Returns:
        int64 [rows, S, draws]: for each image whether it is mirrored, its index, and its crop's top and left; then,
        where they are used, the height and width of a resized crop and the factors of the jitter.
    """
    colours = slice(6, 6 + colour.FACTORS) if resized else slice(4, 4 + colour.FACTORS)
    plan = np.zeros((colours.stop if jitter else colours.start, len(streams), draws), np.int64)
    for s, (name, sampler) in enumerate(streams.items()):
        if isinstance(sampler, Again):
            plan[1, s] = plan[1, list(streams).index(sampler.stream)]
        else:
            plan[1, s] = sampler(pool, draws, progress, generator(*where, name, "sample"))
        random = generator(*where, name, "augment")
        if flip:
            plan[0, s] = random.integers(2, size=draws)
        if crop_padding:
            plan[2:4, s] = random.integers(2 * crop_padding + 1, size=(2, draws))
        if resized:
            plan[2:6, s] = resized_crop.draw(draws, *resized, random)
        if jitter:
            plan[colours, s] = colour.draw(draws, jitter, random)
    return torch.from_numpy(plan)


def with_noise(drawn: Tensor, noise: Callable[[int, np.random.Generator], NDArray[np.float64]], where: Any) -> Tensor:
    """A plan [R, S, draws] with a method's random numbers as rows [R + K, S, draws], the same in every stream.

    The numbers travel as the bits of float64; ``noise_of`` reads them.
    """
    numbers = noise(drawn.shape[2], generator(*where, "noise"))
    bits = torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.float64).view(np.int64))
    return torch.cat([drawn, bits[:, None].expand(-1, drawn.shape[1], -1)])


def noise_of(columns: Tensor, streams: int) -> Tensor:
    """The random numbers [K, B] float32 of the rows [K, S * B] of a plan that hold them."""
    first = columns[:, : columns.shape[1] // streams]
    return first.contiguous().view(torch.float64).float()

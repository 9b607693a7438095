"""CMO: context-rich minority over-sampling.

Park, Hong, Heo, Yun, Choi: The Majority Can Help the Minority, CVPR 2022, arXiv 2112.00412: with a given probability,
CutMix pastes a patch of an image from a second loader into an ordinary image; the labels are mixed by area. The second
loader draws images with weight n_j ** -weight_exponent; exponent 1 gives balanced classes. No CutMix in the first and
last 3 of 200 epochs.
Deviation: these epochs are a fraction of the training.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range, Stage, frequency_power, instance_balanced


def patch_of(noise: Tensor, height: int, width: int) -> Tensor:
    """Mask [H, W] of the pasted box. noise: the background's share, and the box's centre (down, across), in [0, 1)."""
    side = torch.sqrt(1 - noise[0])
    y, x = (torch.arange(n, device=noise.device, dtype=noise.dtype) for n in (height, width))
    top, left = torch.floor(noise[1] * height), torch.floor(noise[2] * width)
    down, across = torch.floor(height * side / 2), torch.floor(width * side / 2)
    rows = (y >= top - down) & (y < top + down)
    return rows[:, None] & ((x >= left - across) & (x < left + across))[None]


class Cmo(Method):
    """CutMix that pastes patches of mostly rare classes into ordinary images."""

    needs_pixels = "pastes patches of images"
    probability = Range(0.5, 0.0, 1.0)
    weight_exponent = Range(1.0, 0.5, 2.0)
    idle = Range(0.015, 0.0, 0.1)  # fraction of training without CutMix, at its start and at its end
    published = Published.table(
        source="CMO (copy in H2T)",
        family="F1",
        grade="B",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.classifier_init": "ldam"},
        accuracies={"cifar100": {100: 43.9, 50: 48.3}},
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage(streams={"background": instance_balanced, "patch": frequency_power(1 - self.weight_exponent)}),)

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.random((4, draws))  # CutMix draws its share from Beta(1, 1), which is uniform

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        (images, patches), (labels, pasted) = (v.chunk(2) for v in (batch.images, batch.labels))
        noise = batch.noise[:, 0]
        active = (noise[3] < self.probability) & (clock.progress >= self.idle) & (clock.progress < 1 - self.idle)
        mask = patch_of(noise, images.shape[2], images.shape[3]) & active
        logits, area = net(torch.where(mask, patches, images)), mask.float().mean()
        return (1 - area) * F.cross_entropy(logits, labels) + area * F.cross_entropy(logits, pasted)

"""Base class of methods that paste patches of images of rare classes into ordinary images."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ltbench.method.contract import Batch, Clock, Method, Stage
from ltbench.method.hyperparameters import Range
from ltbench.method.samplers import frequency_power, instance_balanced
from ltbench.models.network import Network


def patch_of(noise: Tensor, height: int, width: int) -> Tensor:
    """Mask [H, W] of the pasted box. noise: the background's share, and the box's centre (down, across), in [0, 1)."""
    side = torch.sqrt(1 - noise[0])
    y, x = (torch.arange(n, device=noise.device, dtype=noise.dtype) for n in (height, width))
    top, left = torch.floor(noise[1] * height), torch.floor(noise[2] * width)
    down, across = torch.floor(height * side / 2), torch.floor(width * side / 2)
    rows = (y >= top - down) & (y < top + down)
    return rows[:, None] & ((x >= left - across) & (x < left + across))[None]


class PastedMinority(Method):
    """CutMix that pastes patches of mostly rare classes into ordinary images.

    Park et al., CVPR 2022 (arXiv 2112.00412): with a given probability, a step pastes a patch of an image of a second
    stream into each image, and mixes the losses of both labels by area. A subclass may define ``of_labels``.

    Hyper-parameters:
        probability: of a step with CutMix.
        weight_exponent: the second stream draws images with weight n_j ** -weight_exponent; 1 gives balanced classes.
        idle: fraction of training without CutMix, at its start and at its end.
    """

    needs_pixels: ClassVar[str] = "pastes patches of images"
    probability = Range(0.5, 0.0, 1.0)
    weight_exponent = Range(1.0, 0.5, 2.0)
    idle = Range(0.015, 0.0, 0.1)

    def stages(self) -> Sequence[Stage]:
        """Return one stage with two streams."""
        return (Stage(streams={"background": instance_balanced, "patch": frequency_power(1 - self.weight_exponent)}),)

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """Draw the share of the background, the place of the patch, and a number that decides about CutMix."""
        return generator.random((4, draws))  # CutMix draws its share from Beta(1, 1), which is uniform

    def of_labels(self, logits: Tensor, labels: Tensor, clock: Clock) -> Tensor:
        """Compute the loss for these labels, 0-dim. logits: [B, C], labels: [B]."""
        return F.cross_entropy(logits, labels)

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Compute the loss of images with patches, mixed by area."""
        (images, patches), (labels, pasted) = (v.chunk(2) for v in (batch.images, batch.labels))
        noise = batch.noise[:, 0]
        active = (noise[3] < self.probability) & (clock.progress >= self.idle) & (clock.progress < 1 - self.idle)
        mask = patch_of(noise, images.shape[2], images.shape[3]) & active
        logits, area = net(torch.where(mask, patches, images)), mask.float().mean()
        return (1 - area) * self.of_labels(logits, labels, clock) + area * self.of_labels(logits, pasted, clock)

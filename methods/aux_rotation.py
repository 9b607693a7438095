"""Auxiliary learning with a self-supervised task: predict the rotation of the image.

Zhang, Liu, Wang, Shen: To Balance or Not to Balance, 2019, arXiv 1912.04486, proposes a self-supervised auxiliary task,
but the abstract does not name one. Rotation prediction is from Gidaris, Singh, Komodakis: Unsupervised Representation
Learning by Predicting Image Rotations, ICLR 2018, arXiv 1803.07728: CE(primary; balanced) + weight * CE(rotation;
random).
Re-implemented from the abstract, hyper-parameters ours. Deviation: unknown. Image i of a shuffled batch is rotated by
(i mod 4) * 90 degrees: each image is processed once, not in all four rotations.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import AuxiliaryLearning, Batch, Network, Range
from ltbench.method.functional import quarter_turned


class AuxRotation(AuxiliaryLearning):
    """Class-balanced training, with rotation prediction as an auxiliary task for the features."""

    needs_pixels = "rotates images"
    heads = ("primary", "rotation")
    weight = Range(1.0, 0.05, 2.0, log=True)
    cost = 2.0

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        return super().build_head(name, width, 4 if name == "rotation" else classes)

    def pictures(self, stream: str, images: Tensor) -> Tensor:
        return images if stream == "primary" else quarter_turned(images)

    def auxiliary_loss(self, net: Network, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        logits = net.heads["rotation"](features["auxiliary"])
        return self.weight * F.cross_entropy(logits, torch.arange(len(logits), device=logits.device) % 4)

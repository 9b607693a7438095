"""Auxiliary learning with a self-supervised task: which way up is the image?

Zhang, Liu, Wang, Shen: To Balance or Not to Balance, 2019, arXiv 1912.04486, names self-supervision as an auxiliary
task and not which; rotation is that of Gidaris, Singh, Komodakis: Unsupervised Representation Learning by Predicting
Image Rotations, ICLR 2018, arXiv 1803.07728. CE(primary; balanced) + weight * CE(quarter turns; random).
Re-implemented from the abstract, hyper-parameters ours. Deviation: unknown. Image i of a shuffled batch is turned i mod
4 quarters, so that each image is passed once, not four times.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import AuxiliaryLearning, Batch, Network, Range
from ltbench.method.functional import quarter_turned


class AuxRotation(AuxiliaryLearning):
    """A class-balanced task trains classifier and features; telling how images are turned helps the features."""

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

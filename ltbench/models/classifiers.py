"""Classifiers: from features to logits."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Classifier = Literal["linear", "cosine", "scaled"]


class CosineClassifier(nn.Module):
    """Cosine between a feature and each class's weight, without bias or scale. Features [B, D] -> cosines [B, C]."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, features))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, features: Tensor) -> Tensor:
        """[B, D] -> [B, C], each in [-1, 1]."""
        return F.linear(F.normalize(features), F.normalize(self.weight))


class ScaledClassifier(nn.Linear):
    """A linear classifier whose logits are multiplied by exp(log_scale), one factor per class, initially 1.

    Its weight and bias can be loaded from a linear classifier. Features [B, D] -> logits [B, C].
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.log_scale = nn.Parameter(torch.zeros(classes))

    def forward(self, features: Tensor) -> Tensor:
        """[B, D] -> [B, C]."""
        return super().forward(features) * self.log_scale.exp()


CLASSIFIERS: dict[Classifier, type[nn.Module]] = {
    "linear": nn.Linear,
    "cosine": CosineClassifier,
    "scaled": ScaledClassifier,
}

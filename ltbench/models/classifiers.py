"""Classifiers: from features to logits."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CosineClassifier(nn.Module):
    """Cosine between a feature and each class's weight: no bias, no scale. Features [B, D] -> cosines [B, C]."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, features))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, features: Tensor) -> Tensor:
        """[B, D] -> [B, C], each in [-1, 1]."""
        return F.linear(F.normalize(features), F.normalize(self.weight))


CLASSIFIERS = {"linear": nn.Linear, "cosine": CosineClassifier}

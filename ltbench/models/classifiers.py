"""Classifiers: from features to logits."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Classifier = Literal["linear", "cosine", "scaled"]


class CosineClassifier(nn.Module):
    """Cosine between a feature and each class's weight, without bias or scale. Features [B, D] -> cosines [B, C].

    Weights start with length 1, as in the code of Cao et al., NeurIPS 2019, and of RIDE, SADE and BalPoE. A step turns
    shorter ones by more.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.empty(classes, features).uniform_(-1, 1)))

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


def initialise_as_ldam(head: nn.Module) -> None:
    """Initialise a linear classifier as the code of Cao et al., NeurIPS 2019; other heads stay as they are.

    Weights are normal with variance 2 / D for D features.
    """
    if isinstance(head, nn.Linear):
        nn.init.kaiming_normal_(head.weight)


CLASSIFIERS: dict[Classifier, type[nn.Module]] = {
    "linear": nn.Linear,
    "cosine": CosineClassifier,
    "scaled": ScaledClassifier,
}

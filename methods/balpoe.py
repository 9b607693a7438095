"""BalPoE: a balanced product of calibrated experts.

Sanchez Aimar, Jonnarth, Felsberg, Kuhlmann: Balanced Product of Calibrated Experts for Long-Tailed Recognition, CVPR
2023, arXiv 2206.05260: expert k is trained with CE(z + tau_k log pi), tau_k in {0, 1, 2}. Their mean, 1, is the value
for a balanced test set. Mixup, with one share for each batch, improves calibration. The loss is the mean over the
experts; the mean of their logits (a product of experts) predicts. As in the authors' code, a logit is ``scale`` times a
cosine, and each expert owns the last two stages.
Deviation: an image is mixed with the one before it in the shuffled batch (authors': with a random one).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import log_prior, mixed, mixed_cross_entropy


class BalPoe(Method):
    """Three experts with logit adjustment of strength 0, 1 and 2, trained with mixup; their mean logits predict."""

    classifier = "cosine"
    branches = 3
    branches_own = "last two stages"
    heads = ("skewed", "uniform", "reversed")
    alpha = Range(0.4, 0.1, 1.0)
    scale = Range(30.0, 10.0, 40.0, log=True)
    corrects = "log prior in the logits"
    cost = 2.3
    published = (
        Published.table(
            source="BalPoE",
            family="F2",
            grade="A",
            epoch="last",
            settings={"recipe.decay": 0.1, "alpha": 0.4},
            accuracies={"cifar100": {100: 52.0, 50: 56.3, 10: 64.8}},
        )
        + Published.table(
            source="BalPoE",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 60.8}},
        )
        + Published.table(
            source="BalPoE",
            family="other",
            grade="A",
            backbone="resnext50_32x4d",
            settings={"crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 62.0}},
        )
    )

    def setup(self, counts: Tensor) -> None:
        self.shifts = (torch.arange(3.0, device=counts.device)[:, None, None] * log_prior(counts)).float()

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.beta(self.alpha, self.alpha, size=(1, draws))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        share = batch.noise[0, 0]
        logits = self.scale * net.experts(mixed(batch.images, share)).float() + self.shifts
        losses = [mixed_cross_entropy(z, batch.labels, share) for z in logits]
        return torch.stack(losses).mean()

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return self.scale * net.experts(images).mean(0)

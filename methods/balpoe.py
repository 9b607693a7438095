"""BalPoE: a balanced product of calibrated experts.

Sanchez Aimar, Jonnarth, Felsberg, Kuhlmann: Balanced Product of Calibrated Experts for Long-Tailed Recognition, CVPR
2023, arXiv 2206.05260: expert k is trained with CE(z + tau_k log pi), tau in {0, 1, 2}, whose mean is that of the
balanced test; mixup calibrates. The loss is the mean over experts; the mean logits, a product of experts, predict.
Deviation: linear heads; no narrower last stage; one mixup share a batch.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range
from ltbench.method.functional import log_prior, mixed, mixed_cross_entropy


class BalPoe(Method):
    """Three experts for the training, a uniform and a reversed prior, with mixup; their mean logits predict."""

    branches = 3
    heads = ("skewed", "uniform", "reversed")
    alpha = Range(0.4, 0.1, 1.0)
    corrects = "log prior in the logits"
    cost = 1.7
    published = (
        Figure("cifar100", "100", 52.0, "BalPoE", "F2", "A"),
        Figure("cifar100", "50", 56.3, "BalPoE", "F2", "A"),
        Figure("cifar100", "10", 64.8, "BalPoE", "F2", "A"),
    )

    def setup(self, counts: Tensor) -> None:
        self.shifts = (torch.arange(3.0, device=counts.device)[:, None, None] * log_prior(counts)).float()

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.beta(self.alpha, self.alpha, size=(1, draws))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        share = batch.noise[0, 0]
        logits = net.experts(mixed(batch.images, share)).float() + self.shifts
        losses = [mixed_cross_entropy(z, batch.labels, share) for z in logits]
        return torch.stack(losses).mean()

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return net.experts(images).mean(0)

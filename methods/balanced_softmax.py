"""Balanced softmax.

Ren, Yu, Sheng, Ma, Zhao, Yi, Li: Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, arXiv
2007.10740, equation 3: p_y = n_y exp(z_y) / sum_j n_j exp(z_j) in training, plain softmax at test.
Deviation: no meta sampler. The loss equals logit adjustment with tau = 1.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published


def balanced_softmax(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Mean of -log(n_y exp(z_y) / sum_j n_j exp(z_j)). logits: [B, C], labels: [B], counts: [C] -> 0-dim."""
    return F.cross_entropy(logits + counts.log(), labels)


class BalancedSoftmax(Method):
    """Cross-entropy with the log class sizes added to the logits during training."""

    corrects = "log prior in the logits"
    published = Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.nesterov": True},
        accuracies={"cifar10": {100: 77.54, 50: 81.11}, "cifar100": {100: 42.99, 50: 46.55}},
    ) + Published.table(
        source="Survey (Zhang et al., TPAMI 2023)",
        family="other",
        grade="A",
        backbone="resnext50_32x4d",
        settings={
            "recipe.epochs": 90,
            "recipe.batch_size": 256,
            "recipe.lr": 0.1,
            "schedule": "linear",
            "crops": "of the original files",
        },
        accuracies={"imagenet-lt": {"natural": 50.8}},
    )

    def setup(self, counts: Tensor) -> None:
        self.counts = counts.float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return balanced_softmax(net(batch.images).float(), batch.labels, self.counts)

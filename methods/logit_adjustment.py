"""Logit adjustment, in the loss.

Menon, Jayasumana, Rawat, Jain, Veit, Kumar: Long-Tail Learning via Logit Adjustment, ICLR 2021, arXiv 2007.07314,
equation 10: cross-entropy of z + tau * log(pi) in training, plain z at test time.
Deviation: none. With tau = 1 the loss equals balanced softmax.
Published accuracies: the released code trains for 1,241 (CIFAR-10) and 1,419 (CIFAR-100) epochs with bottleneck blocks,
so they are not of family F1.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import log_prior


class LogitAdjustment(Method):
    """Cross-entropy with the log class prior added to the logits during training."""

    tau = Range(1.0, 0.5, 2.0)
    corrects = "log prior in the logits"
    published = (
        Published.table(
            source="Menon21 table 3",
            family="other",
            grade="A",
            settings={"tau": 1.0, "network": "bottleneck blocks", "recipe.nesterov": True, "recipe.epochs": 1241},
            accuracies={"cifar10": {100: 77.67}},
        )
        + Published.table(
            source="Menon21 table 3",
            family="other",
            grade="A",
            settings={"tau": 1.0, "network": "bottleneck blocks", "recipe.nesterov": True, "recipe.epochs": 1419},
            accuracies={"cifar100": {100: 43.89}},
        )
        + Published.table(
            source="Menon21",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"tau": 1.0, "recipe.epochs": 90, "recipe.lr": 0.4, "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 51.11}, "inaturalist2018": {"natural": 66.36}},
        )
    )

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images).float() + self.tau * self.log_prior, batch.labels)

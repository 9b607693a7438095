"""Logit adjustment, post hoc.

Menon, Jayasumana, Rawat, Jain, Veit, Kumar: Long-Tail Learning via Logit Adjustment, ICLR 2021, arXiv 2007.07314,
equation 9: a network trained with cross-entropy predicts argmax of z - tau * log(pi). Nothing more is trained.
``choose=val`` selects tau from 0, 0.1, ..., 3 by balanced accuracy on validation images.
Deviation: none. The paper's tau* was selected on the evaluation set, which ``choose=val`` does not use.
Published accuracies: the released code trains for 1,241 (CIFAR-10) and 1,419 (CIFAR-100) epochs with bottleneck blocks,
so they are not of family F1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ltbench import Choice, Features, Method, Network, Published, Range, Stage
from ltbench.method.functional import log_prior
from ltbench.metrics import best_on


class LogitAdjustmentPosthoc(Method):
    """Cross-entropy, then the log class prior is subtracted from the logits."""

    after = "ce"
    tau = Range(1.0, 0.0, 3.0)
    choose = Choice("given", ("given", "val"), searched=False)
    corrects = "log prior off the logits"
    published = (
        Published.table(
            source="Menon21 table 3",
            family="other",
            grade="A",
            settings={"tau": 1.0, "network": "bottleneck blocks", "recipe.nesterov": True, "recipe.epochs": 1241},
            accuracies={"cifar10": {100: 77.4}},
        )
        + Published.table(
            source="Menon21 table 3",
            family="other",
            grade="A",
            settings={"tau": 1.0, "network": "bottleneck blocks", "recipe.nesterov": True, "recipe.epochs": 1419},
            accuracies={"cifar100": {100: 41.76}},
        )
        + Published.table(
            source="Menon21",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"tau": 1.0, "recipe.epochs": 90, "recipe.lr": 0.4, "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 50.34}},
        )
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage("post-hoc", epochs=0, finish=self.adjust),)

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def adjust(self, net: Network, features: Features) -> None:
        """Subtract tau * log(pi) from the bias."""
        tau, head = self.tau, net.heads["main"]
        if self.choose == "val":
            seen, labels = features("val")
            logits = head(seen)
            grid = [k / 10 for k in range(31)]
            tau = best_on(labels, {tau: logits - tau * self.log_prior for tau in grid})
        bias = head.get_parameter("bias")
        bias.copy_(bias - torch.as_tensor(tau) * self.log_prior)

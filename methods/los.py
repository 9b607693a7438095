"""LOS: label over-smoothing.

Sun, Lu, Li, Xie, Li, Yang, Zhang, Yan: Rethinking Classifier Re-Training in Long-Tailed Recognition: Label Over-Smooth
Can Balance, ICLR 2025 (OpenReview OeKp3AdiVO): after training with cross-entropy, the classifier is trained further on
frozen features and ordinary batches, with cross-entropy whose targets are nearly uniform: 1 - e + e / C for the label
and e / C elsewhere, e = 0.98.
Deviation: stage 1 is that of `ce`, with the weight decay of the recipe (code: 5e-3, which is part of the method's
strength).
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Decoupled, Network, Published, Range, instance_balanced


class Los(Decoupled):
    """Cross-entropy, then the classifier with targets that are nearly uniform."""

    after = "ce"
    streams = {"main": instance_balanced}
    smoothing = Range(0.98, 0.9, 0.99)
    epochs = Range(0.1, 0.05, 0.3)
    lr = Range(5e-4, 5e-5, 0.1, log=True)
    weight_decay = Range(0.0, 0.0, 1e-3)
    cost = 1.03
    published = Published.table(
        source="LOS (copy in GUIDE)",
        family="F5",
        grade="B",
        epoch="best-on-test",
        backbone="resnet34_cifar",
        accuracies={"cifar100": {100: 54.9, 50: 58.8, 10: 69.7}},
    )

    def retrains(self) -> Mapping[str, float]:
        return {"heads.main.*": 1.0}

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images).float(), batch.labels, label_smoothing=self.smoothing)

"""ResLT: residual branches for medium and rare classes.

Cui, Liu, Tian, Zhong, Jia: ResLT: Residual Learning for Long-Tailed Recognition, TPAMI 2022, arXiv 2101.10633: the last
feature map passes three batch norms and one classifier; the sum of their logits predicts. The loss is (1 - alpha) times
the cross-entropy of this sum, plus alpha times that of each branch on its own: the first on all images, the second on
those of medium and rare classes, the third on those of rare ones, divided by the number of images of all three.
Deviation: none from the authors' code for CIFAR. The defaults are those for CIFAR-100 with imbalance factor 100, where
the branches begin after 35 and 70 of 100 classes; the authors' differ by data set and factor (see ``published``). On
large images their branches are 1x1 convolutions, with a scaled classifier at prediction.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Batch, Clock, InputError, Method, Network, Published, Range


class Normalised(nn.Module):
    """A backbone whose last feature map passes three batch norms. Images [B, channels, H, W] -> features [B, 3, D]."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.norms = nn.ModuleList([nn.BatchNorm2d(backbone.num_features) for _ in range(3)])

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = cast(Any, self.backbone).forward_features(images)
        if maps.ndim != 4:
            raise InputError("reslt normalises maps of features, which this backbone has not; set a convolutional one")
        return torch.stack([norm(maps).mean(dim=(2, 3)) for norm in self.norms], dim=1)


class ResLt(Method):
    """Three normalisations of the features, for all classes, for all but frequent and for rare ones, which add up."""

    needs_pixels = "normalises maps of features before they are averaged"
    alpha = Range(0.995, 0.5, 1.0)
    medium_from = Range(0.35, 0.1, 0.4)  # share of the classes that are more frequent
    few_from = Range(0.7, 0.4, 0.9)
    corrects = "further losses of rare classes"
    published = Published.table(
        source="ResLT (copy in SURE)",
        family="F2",
        grade="B",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.decay": 0.1},
        settings_of={
            "cifar10": {
                100: {"alpha": 0.998, "medium_from": 0.2, "few_from": 0.4},
                50: {"alpha": 0.998, "medium_from": 0.2, "few_from": 0.4},
                10: {"alpha": 0.96, "medium_from": 0.2, "few_from": 0.4},
            },
            "cifar100": {100: {"alpha": 0.995}, 50: {"alpha": 0.99}, 10: {"alpha": 0.72}},
        },
        accuracies={"cifar10": {100: 82.4, 50: 85.17, 10: 89.7}, "cifar100": {100: 48.21, 50: 52.71, 10: 62.01}},
    )

    def rebuild(self, backbone: nn.Module, classes: int) -> nn.Module:
        return Normalised(backbone)

    def setup(self, counts: Tensor) -> None:
        rank = counts.argsort(descending=True, stable=True).argsort()
        starts = (0, round(self.medium_from * len(counts)), round(self.few_from * len(counts)))
        self.members = torch.stack([rank >= start for start in starts]).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        logits = net(batch.images).float()
        log_p = (logits.softmax(2) + 1e-7).log().transpose(0, 1)
        each = F.nll_loss(log_p.flatten(0, 1), batch.labels.repeat(3), reduction="none").view(3, -1)
        members = self.members[:, batch.labels]
        fused = F.cross_entropy(logits.sum(1), batch.labels)
        return (1 - self.alpha) * fused + self.alpha * (members * each).sum() / members.sum()

    def predict(self, net: Network, images: Tensor) -> Tensor:
        logits: Tensor = net(images).sum(1)
        return logits

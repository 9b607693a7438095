"""RIDE: routing diverse experts, without the routing.

Wang, Lian, Miao, Liu, Yu: Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021, arXiv
2010.01809, equations 5 to 7: each of three experts is trained with LDAM-DRW + diversity * T ** 2 * KL(mean || expert);
diversity < 0 makes them differ. Late in training, class j has the temperature factor * n_j / mean(n) + 1 - factor,
divided by the largest (from the authors' code). The mean logits predict. As in that code, each expert owns the last two
stages with 3/4 of the channels (24 and 48 in ResNet-32; 192 and 384, before the expansion, in ResNet-50).
Deviation: no distillation.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import effective_number_weights, ldam_margins, subtract_margin


def divergence_from_mean(logits: Tensor, temperatures: Tensor) -> Tensor:
    """Sum over experts of the mean KL(p_mean || p_k), with class temperatures [C]. logits: [K, B, C] -> 0-dim."""
    log_p = F.log_softmax(logits / temperatures, dim=2)
    log_mean = F.log_softmax(logits.mean(0) / temperatures, dim=1)
    return (log_mean.exp() * (log_mean - log_p)).sum(2).mean(1).sum()


class Ride(Method):
    """Three LDAM experts with a loss that makes them differ; their mean logits predict."""

    classifier = "cosine"
    branches = 3
    branches_own = "last two stages"
    branches_width = 0.75
    heads = ("first", "second", "third")
    diversity = Range(-0.45, -0.6, 0.0)
    factor = Range(0.05, 0.0, 0.2)
    max_margin = Range(0.5, 0.1, 0.8)
    scale = Range(30.0, 10.0, 40.0, log=True)
    defer_at = Range(0.8, 0.7, 0.95)
    corrects = "class weights in the loss"
    cost = 1.45
    published = Published.table(
        source="RIDE zoo",
        family="F2",
        grade="A",
        settings={"routing": True},
        accuracies={"cifar100": {100: 48.6}},
        groups={"cifar100": {100: (67.0, 49.9, 25.7)}},
    ) + Published.table(
        source="RIDE zoo",
        family="other",
        grade="A",
        backbone={"imagenet-lt": "resnext50_32x4d", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
        settings={"crops": "of the original files"},
        settings_of={
            "imagenet-lt": {"natural": {"recipe.epochs": 100}},
            "inaturalist2018": {"natural": {"recipe.epochs": 100}},
        },
        accuracies={
            "imagenet-lt": {"natural": 55.7},
            "places-lt": {"natural": 40.3},
            "inaturalist2018": {"natural": 71.2},
        },
        groups={"imagenet-lt": {"natural": (67.0, 52.2, 36.0)}, "inaturalist2018": {"natural": (70.2, 71.2, 71.6)}},
    )

    def setup(self, counts: Tensor) -> None:
        self.margins = ldam_margins(counts, self.max_margin).float()
        self.weights = effective_number_weights(counts, 0.9999).float()
        temperatures = self.factor * counts / counts.mean() + 1 - self.factor
        self.temperatures = (temperatures / temperatures.max()).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        late, ones = clock.progress >= self.defer_at, torch.ones_like(self.weights)
        weights, temperatures = torch.where(late, self.weights, ones), torch.where(late, self.temperatures, ones)
        cosines = net.experts(batch.images).float()
        margins = [
            F.cross_entropy(self.scale * subtract_margin(c, batch.labels, self.margins), batch.labels, weights)
            for c in cosines
        ]
        apart = temperatures.mean() ** 2 * divergence_from_mean(self.scale * cosines, temperatures)
        return torch.stack(margins).sum() + self.diversity * apart

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return self.scale * net.experts(images).mean(0)

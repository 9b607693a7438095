"""SADE: three experts with different skills.

Zhang, Hooi, Hong, Feng: Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed Recognition,
NeurIPS 2022, arXiv 2107.09249, equations 1 to 3: CE(z) + CE(z + log pi) + CE(z + log pi - tau log pi_inverse), where
pi_inverse is the prior in reversed order of class sizes. The experts' mean logits predict. As in the authors' code, a
logit is ``scale`` times a cosine, and each expert owns the last two stages with 3/4 of the channels (24 and 48 of
ResNet-32).
Deviation: no test-time aggregation, which uses test images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import log_prior


def reversed_prior(prior: Tensor) -> Tensor:
    """Reverse the prior [C]: the rarest class gets the value of the most frequent one, and so on."""
    order = prior.argsort(stable=True)
    reversed_ = torch.empty_like(prior)
    reversed_[order] = prior[order].flip(0)
    return reversed_


class Sade(Method):
    """Three experts, for the training prior, a uniform and a reversed prior; their mean logits predict."""

    classifier = "cosine"
    branches = 3
    branches_own = "last two stages"
    branches_width = 0.75
    heads = ("skewed", "uniform", "reversed")
    tau = Range(2.0, 1.0, 3.0)
    scale = Range(30.0, 10.0, 40.0, log=True)
    corrects = "log prior in the logits"
    cost = 1.45
    published = (
        Published.table(
            source="SADE",
            family="F2",
            grade="A",
            settings={
                "recipe.decay": 0.1,
                "recipe.lr": 0.05,
                "network": "experts with all channels",
            },
            accuracies={"cifar10": {100: 83.8, 10: 90.8}},
        )
        + Published.table(
            source="SADE",
            family="F2",
            grade="A",
            settings={"recipe.decay": 0.1},
            accuracies={"cifar100": {100: 49.8, 50: 53.9, 10: 63.6}},
        )
        + Published.table(
            source="SADE",
            family="other",
            grade="A",
            backbone={"imagenet-lt": "resnext50_32x4d", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
            settings={"crops": "of the original files"},
            settings_of={
                "imagenet-lt": {"natural": {"recipe.epochs": 180}},
                "inaturalist2018": {"natural": {"recipe.epochs": 200}},
            },
            accuracies={
                "imagenet-lt": {"natural": 58.8},
                "places-lt": {"natural": 40.9},
                "inaturalist2018": {"natural": 72.9},
            },
        )
    )

    def setup(self, counts: Tensor) -> None:
        prior = log_prior(counts)
        shifts = (torch.zeros_like(prior), prior, prior - self.tau * reversed_prior(prior))
        self.shifts = torch.stack(shifts).float()[:, None]

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        logits = self.scale * net.experts(batch.images).float() + self.shifts
        return F.cross_entropy(logits.flatten(0, 1), batch.labels.repeat(3)) * 3

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return self.scale * net.experts(images).mean(0)

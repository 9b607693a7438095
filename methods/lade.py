"""LADE: label distribution disentangling.

Hong, Han, Choi, Seo, Kim, Chang: Disentangling Label Distribution for Long-tailed Visual Recognition, CVPR 2021, arXiv
2012.00321: cross-entropy on z + log(pi), plus ``weight`` times the sum over classes of -pi_c
(mean of z_c over images of c - d_c - regulariser d_c ** 2), where d_c = log mean exp(z_c - log(pi_c) - log(C)) over the
batch: the regularised Donsker-Varadhan bound, with the uniform distribution as the target.
Deviation: none from the authors' code, in which the mean of a class without images in the batch is 0.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import log_prior


def disentangling(logits: Tensor, labels: Tensor, log_priors: Tensor, regulariser: float) -> Tensor:
    """Regularised Donsker-Varadhan loss, 0-dim. logits: [B, C], labels: [B], log_priors: [C]."""
    size, classes = logits.shape
    own = (labels[:, None] == torch.arange(classes, device=labels.device)).to(logits.dtype)
    inside = (own * logits).sum(0) / (own.sum(0) + 1e-8)
    outside = (logits - log_priors - math.log(classes)).logsumexp(0) - math.log(size)
    return -(log_priors.exp() * (inside - outside - regulariser * outside**2)).sum()


class Lade(Method):
    """Cross-entropy with the log prior, plus a loss that separates the training prior from the logits."""

    weight = Range(0.1, 0.01, 1.0, log=True)
    regulariser = Range(0.1, 0.01, 0.5, log=True)
    corrects = "log prior in the logits"
    published = Published.table(
        source="LADE",
        family="F2",
        grade="A",
        settings={
            "recipe.batch_size": 256,
            "recipe.lr": 0.2,
            "recipe.milestones": (120, 160),
            "recipe.nesterov": False,
            "weight": 0.1,
            "regulariser": 0.1,
            "network": "128 features",
        },
        settings_of={"cifar100": {100: {"regulariser": 0.01}}},
        accuracies={"cifar100": {100: 45.4, 50: 50.5, 10: 61.7}},
    ) + Published.table(
        source="LADE",
        family="other",
        grade="A",
        backbone={"imagenet-lt": "resnext50_32x4d", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
        settings={"crops": "of the original files"},
        settings_of={
            "imagenet-lt": {
                "natural": {
                    "recipe.epochs": 180,
                    "recipe.batch_size": 256,
                    "recipe.lr": 0.05,
                    "weight": 0.05,
                    "regulariser": 0.5,
                }
            },
            "places-lt": {"natural": {"weight": 0.005, "regulariser": 0.1}},
            "inaturalist2018": {
                "natural": {
                    "recipe.epochs": 200,
                    "recipe.batch_size": 256,
                    "recipe.lr": 0.1,
                    "weight": 0.05,
                    "regulariser": 0.5,
                }
            },
        },
        accuracies={
            "imagenet-lt": {"natural": 53.0},
            "places-lt": {"natural": 38.8},
            "inaturalist2018": {"natural": 70.0},
        },
    )

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        logits = net(batch.images).float()
        adjusted = F.cross_entropy(logits + self.log_prior, batch.labels)
        return adjusted + self.weight * disentangling(logits, batch.labels, self.log_prior, self.regulariser)

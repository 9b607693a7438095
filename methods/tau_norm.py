"""tau-normalised classifier.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, section 4.3: after training with cross-entropy, w_j <- w_j / |w_j| ** tau, without bias
(``bias=kept`` keeps it, as BagofTricks-LT does).
Nothing more is trained; tau = 0 keeps the weights. ``choose=val`` selects tau from 0, 0.1, ..., 2 by balanced accuracy
on validation images.
Deviation: stage 1 is shared with `ce` and trained with a bias, which is removed here, as in the authors' code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ltbench import Choice, Features, Method, Network, Published, Range, Stage
from ltbench.metrics import best_on


def tau_normalised(weight: Tensor, tau: float) -> Tensor:
    """w_j / |w_j| ** tau. weight: [C, D] -> [C, D]."""
    lengths: Tensor = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    return weight / lengths.pow(tau)


class TauNorm(Method):
    """Cross-entropy, then the classifier's weights are scaled to more equal lengths."""

    after = "ce"
    tau = Range(1.0, 0.0, 3.0)
    bias = Choice("dropped", ("dropped", "kept"), searched=False)
    choose = Choice("given", ("given", "val"), searched=False)
    corrects = "normalised classifier weights"
    published = (
        Published.table(
            source="BagofTricks-LT gallery",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.nesterov": True, "tau": 1.0, "bias": "kept"},
            accuracies={"cifar10": {100: 72.7, 50: 79.78}, "cifar100": {100: 40.96, 50: 45.69}},
        )
        + Published.table(
            source="Kang20, repository",
            family="other",
            grade="A",
            backbone="resnext50_32x4d",
            settings={"recipe.epochs": 90, "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 49.4}},
            groups={"imagenet-lt": {"natural": (59.1, 46.9, 30.7)}},
        )
        + Published.table(
            source="Kang20 (copies in later papers)",
            family="other",
            grade="B",
            backbone={"imagenet-lt": "resnet50", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
            settings={"crops": "of the original files"},
            settings_of={
                "imagenet-lt": {"natural": {"recipe.epochs": 90}},
                "inaturalist2018": {"natural": {"recipe.epochs": 90}},
            },
            accuracies={
                "imagenet-lt": {"natural": 46.7},
                "places-lt": {"natural": 37.9},
                "inaturalist2018": {"natural": 65.6},
            },
            groups={"places-lt": {"natural": (37.8, 40.7, 31.8)}, "inaturalist2018": {"natural": (65.6, 65.3, 65.9)}},
        )
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage("post-hoc", epochs=0, finish=self.normalise),)

    def normalise(self, net: Network, features: Features) -> None:
        """Divide each class's weights by their length to the power of tau, and set the bias to 0 unless it is kept."""
        tau, head = self.tau, net.heads["main"]
        weight, bias = head.get_parameter("weight"), head.get_parameter("bias")
        if self.bias == "dropped":
            bias.zero_()
        if self.choose == "val":
            seen, labels = features("val")
            tau = best_on(labels, {k / 10: seen @ tau_normalised(weight, k / 10).T + bias for k in range(21)})
        weight.copy_(tau_normalised(weight, tau))

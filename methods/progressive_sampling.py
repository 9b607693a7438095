"""Progressively-balanced sampling.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, equation 2: p_j = (1 - t) n_j / N + t / C, t from 0 to 1 over the training.
Deviation: t = epoch / epochs, which is below 1 in the last epoch.
"""

from collections.abc import Sequence

from ltbench import Method, Published, Range, Stage, progressively_balanced


class ProgressiveSampling(Method):
    """Cross-entropy with sampling that moves from instance-balanced to class-balanced."""

    power = Range(1.0, 0.5, 2.0)  # above 1: later balance
    published = Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.nesterov": True},
        accuracies={"cifar10": {100: 71.98, 50: 78.57}, "cifar100": {100: 39.04, 50: 43.12}},
    ) + Published.table(
        source="Kang20, repository",
        family="other",
        grade="A",
        backbone="resnext50_32x4d",
        settings={"recipe.epochs": 90, "crops": "of the original files"},
        accuracies={"imagenet-lt": {"natural": 47.2}},
        groups={"imagenet-lt": {"natural": (61.9, 43.2, 19.4)}},
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage(streams={"main": progressively_balanced(self.power)}),)

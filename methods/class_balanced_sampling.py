"""Class-balanced re-sampling: every class is drawn equally often, from the first step.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, equation 1 with q = 0: p_j = 1 / C, then an image of class j uniformly.
``weights=effective_number`` draws images by the inverse effective number of their class instead, with beta = 0.9999, as
the code of Cao et al., NeurIPS 2019 (arXiv 1906.07413) does for this baseline.
Deviation: none. An epoch has as many steps as with ordinary shuffling.
"""

from collections.abc import Sequence

from ltbench import Choice, Method, Published, Stage, class_balanced
from ltbench.method.samplers import effective_number_balanced


class ClassBalancedSampling(Method):
    """Cross-entropy with every class sampled equally often."""

    streams = {"main": class_balanced}
    weights = Choice("uniform", ("uniform", "effective_number"))
    published = (
        Published.table(
            source="Cao19 table 2",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.classifier_init": "ldam", "weights": "effective_number"},
            accuracies={"cifar10": {100: 70.55, 10: 86.79}, "cifar100": {100: 33.44, 10: 55.06}},
        )
        + Published.table(
            source="BagofTricks-LT gallery",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.nesterov": True},
            accuracies={"cifar10": {100: 72.45, 50: 78.08}, "cifar100": {100: 35.24, 50: 39.46}},
        )
        + Published.table(
            source="Kang20, repository",
            family="other",
            grade="A",
            backbone="resnext50_32x4d",
            settings={"recipe.epochs": 90, "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 45.1}},
            groups={"imagenet-lt": {"natural": (61.8, 40.1, 15.5)}},
        )
    )

    def stages(self) -> Sequence[Stage]:
        if self.weights == "uniform":
            return (Stage(),)
        return (Stage(streams={"main": effective_number_balanced(0.9999)}),)

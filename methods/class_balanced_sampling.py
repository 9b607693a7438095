"""Class-balanced re-sampling: every class is drawn equally often, from the first step.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, equation 1 with q = 0: p_j = 1 / C, then an image of class j uniformly.
Deviation: none. An epoch has as many steps as with ordinary shuffling.
"""

from ltbench import Method, Published, class_balanced


class ClassBalancedSampling(Method):
    """Cross-entropy with every class sampled equally often."""

    streams = {"main": class_balanced}
    published = Published.table(
        source="Cao19 table 2",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.classifier_init": "ldam", "sampler": "effective number"},
        accuracies={"cifar10": {100: 70.55, 10: 86.79}, "cifar100": {100: 33.44, 10: 55.06}},
    ) + Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        accuracies={"cifar10": {100: 72.45, 50: 78.08}, "cifar100": {100: 35.24, 50: 39.46}},
    )

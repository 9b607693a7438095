"""Square-root sampling: between ordinary shuffling and class balance.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, equation 1 with q = 1/2: p_j = sqrt(n_j) / sum_i sqrt(n_i).
Deviation: none. An epoch has as many steps as with ordinary shuffling.
"""

from ltbench import Method, Published, frequency_power


class SquareRootSampling(Method):
    """Cross-entropy with classes sampled in proportion to the square root of their size."""

    streams = {"main": frequency_power(0.5)}
    published = Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.nesterov": True},
        accuracies={"cifar10": {100: 71.42, 50: 77.68}, "cifar100": {100: 36.79, 50: 41.13}},
    ) + Published.table(
        source="Kang20, repository",
        family="other",
        grade="A",
        backbone="resnext50_32x4d",
        settings={"recipe.epochs": 90, "crops": "of the original files"},
        accuracies={"imagenet-lt": {"natural": 46.8}},
        groups={"imagenet-lt": {"natural": (64.3, 41.2, 17.0)}},
    )

"""Square-root sampling: between ordinary shuffling and class balance.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, equation 1 with q = 1/2: p_j = sqrt(n_j) / sum_i sqrt(n_i).
Deviation: none. An epoch has as many steps as with ordinary shuffling.
"""

from ltbench import Figure, Method, frequency_power


class SquareRootSampling(Method):
    """Cross-entropy on batches in which a class is as frequent as the square root of its size."""

    streams = {"main": frequency_power(0.5)}
    published = (
        Figure("cifar10", "100", 71.42, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "50", 77.68, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "100", 36.79, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "50", 41.13, "BagofTricks-LT gallery", "F1", "A"),
    )

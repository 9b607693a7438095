"""Class-balanced re-sampling: every class is drawn equally often, from the first step.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, equation 1 with q = 0: p_j = 1 / C, an image of class j uniformly.
Deviation: none. An epoch has as many steps as with ordinary shuffling.
"""

from ltbench import Figure, Method, class_balanced


class ClassBalancedSampling(Method):
    """Cross-entropy on batches in which every class is equally frequent."""

    streams = {"main": class_balanced}
    published = (
        Figure("cifar10", "100", 70.55, "Cao19 table 2", "F1", "A"),
        Figure("cifar10", "50", 78.08, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "10", 86.79, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "100", 33.44, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "50", 39.46, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "10", 55.06, "Cao19 table 2", "F1", "A"),
    )

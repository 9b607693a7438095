"""Progressively-balanced sampling.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, equation 2: p_j = (1 - t) n_j / N + t / C, t from 0 to 1 over the training.
Deviation: t is epoch / epochs, so that it ends one epoch short of 1.
"""

from collections.abc import Sequence

from ltbench import Figure, Method, Range, Stage, progressively_balanced


class ProgressiveSampling(Method):
    """Cross-entropy on batches that go from the data's frequencies to balanced ones."""

    power = Range(1.0, 0.5, 2.0)  # above 1 the balance comes late
    published = (
        Figure("cifar10", "100", 71.98, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "50", 78.57, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "100", 39.04, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "50", 43.12, "BagofTricks-LT gallery", "F1", "A"),
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage(streams={"main": progressively_balanced(self.power)}),)

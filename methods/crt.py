"""cRT: classifier re-training on frozen features.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, section 4.1. Stage 1 is plain cross-entropy (`ce`, shared with it). Stage 2 freezes the
backbone, draws a new linear classifier and trains it with class-balanced sampling and a cosine schedule (`Decoupled`).
Deviation: the length of stage 2 is a fraction of the recipe's epochs (paper: 10 of 90 on ImageNet-LT; the BagofTricks
CIFAR figures: 30 of 200). As in the authors' code, batch-norm statistics move in stage 2 (`batch_norm="train"`).
"""

from ltbench import Decoupled, Figure


class Crt(Decoupled):
    """Features of plain training, then a new classifier trained on class-balanced batches."""

    after = "ce"
    published = (
        Figure("cifar10", "100", 74.99, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "50", 80.17, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "100", 40.26, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "50", 45.36, "BagofTricks-LT gallery", "F1", "A"),
    )

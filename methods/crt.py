"""cRT: classifier re-training on frozen features.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, section 4.1. Stage 1 is cross-entropy, shared with `ce`. Stage 2 freezes the backbone and
trains a new linear classifier with class-balanced sampling and a cosine schedule (`Decoupled`).
Deviation: stage 2 takes a fraction of the recipe's epochs (paper: 10 after 90 on ImageNet-LT; BagofTricks on CIFAR: 30
after 200). As in the authors' code, stage 2 updates the batch-norm statistics (`batch_norm="train"`).
"""

from ltbench import Decoupled, Published


class Crt(Decoupled):
    """Cross-entropy, then a new classifier on frozen features, trained with class-balanced batches."""

    after = "ce"
    published = Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"epochs": 0.15, "lr": 0.1, "weight_decay": 0.0005, "schedule": "step"},
        accuracies={"cifar10": {100: 74.99, 50: 80.17}, "cifar100": {100: 40.26, 50: 45.36}},
    )

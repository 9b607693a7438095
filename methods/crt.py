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
    published = (
        Published.table(
            source="BagofTricks-LT gallery",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.nesterov": True, "epochs": 0.15, "lr": 0.1, "weight_decay": 0.0005, "schedule": "step"},
            accuracies={"cifar10": {100: 74.99, 50: 80.17}, "cifar100": {100: 40.26, 50: 45.36}},
        )
        + Published.table(
            source="Kang20, repository",
            family="other",
            grade="A",
            backbone="resnext50_32x4d",
            settings={"recipe.epochs": 90, "stage 2": "10 epochs", "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 49.6}},
            groups={"imagenet-lt": {"natural": (61.8, 46.2, 27.4)}},
        )
        + Published.table(
            source="Kang20 (copies in later papers)",
            family="other",
            grade="B",
            backbone={"imagenet-lt": "resnet50", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
            settings={"crops": "of the original files"},
            settings_of={
                "imagenet-lt": {"natural": {"recipe.epochs": 90, "stage 2": "10 epochs"}},
                "places-lt": {"natural": {"stage 2": "10 epochs"}},
                "inaturalist2018": {"natural": {"recipe.epochs": 90, "stage 2": "30 epochs"}},
            },
            accuracies={
                "imagenet-lt": {"natural": 47.3},
                "places-lt": {"natural": 36.7},
                "inaturalist2018": {"natural": 65.2},
            },
            groups={"places-lt": {"natural": (42.0, 37.6, 24.9)}, "inaturalist2018": {"natural": (69.0, 66.0, 63.2)}},
        )
        + Published.table(
            source="MiSLAS",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"recipe.epochs": 180, "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 50.3}},
        )
    )

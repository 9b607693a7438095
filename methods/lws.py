"""LWS: learnable weight scaling on a frozen classifier.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, section 4.4: after training with cross-entropy, only one factor s_j per class is trained,
in s_j * (w_j f + b_j), with class-balanced sampling (`Decoupled`).
Deviation: s_j = exp(a_j) with a_j trained from 0, so that no factor is negative; the length of stage 2 as in `crt`.
"""

from collections.abc import Mapping

from ltbench import Decoupled, Published


class Lws(Decoupled):
    """Cross-entropy, then one scale per class, trained with class-balanced batches."""

    after = "ce"
    classifier = "scaled"
    published = (
        Published.table(
            source="BagofTricks-LT gallery",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.nesterov": True, "epochs": 0.15, "lr": 0.1, "weight_decay": 0.0005, "schedule": "step"},
            accuracies={"cifar10": {100: 72.63, 50: 78.66}, "cifar100": {100: 40.16, 50: 45.21}},
        )
        + Published.table(
            source="Kang20, repository",
            family="other",
            grade="A",
            backbone="resnext50_32x4d",
            settings={"recipe.epochs": 90, "stage 2": "5 epochs", "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 49.9}},
            groups={"imagenet-lt": {"natural": (60.2, 47.2, 30.3)}},
        )
        + Published.table(
            source="Kang20 (copies in later papers)",
            family="other",
            grade="B",
            backbone={"imagenet-lt": "resnet50", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
            settings={"stage 2": "5 epochs", "crops": "of the original files"},
            settings_of={
                "imagenet-lt": {"natural": {"recipe.epochs": 90}},
                "inaturalist2018": {"natural": {"recipe.epochs": 90}},
            },
            accuracies={
                "imagenet-lt": {"natural": 47.7},
                "places-lt": {"natural": 37.6},
                "inaturalist2018": {"natural": 65.9},
            },
            groups={"places-lt": {"natural": (40.6, 39.1, 28.6)}, "inaturalist2018": {"natural": (65.0, 66.3, 65.5)}},
        )
        + Published.table(
            source="MiSLAS",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"recipe.epochs": 180, "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 51.2}},
        )
    )

    def retrains(self) -> Mapping[str, float]:
        return {"heads.*.log_scale": 1.0}

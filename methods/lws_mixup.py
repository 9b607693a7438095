"""LWS on features trained with mixup.

Zhong, Cui, Liu, Jia: Improving Calibration for Long-Tailed Recognition, CVPR 2021, arXiv 2104.00466, section 3.2: stage
1 is mixup, shared with `mixup`; stage 2 is that of `lws`: one scale per class on class-balanced batches, without mixup.
Deviation: as in `lws`. The published accuracies use learning-rate steps of 0.1 instead of 0.01.
"""

from collections.abc import Mapping

from ltbench import Decoupled, Published


class LwsMixup(Decoupled):
    """Mixup, then one scale per class, trained with class-balanced batches."""

    after = "mixup"
    classifier = "scaled"
    published = Published.table(
        source="MiSLAS",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={
            "recipe.classifier_init": "ldam",
            "recipe.decay": 0.1,
            "weight_decay": 0.0002,
            "epochs": 0.05,
        },
        accuracies={"cifar10": {100: 76.3, 50: 82.6, 10: 89.6}, "cifar100": {100: 44.2, 50: 50.7, 10: 62.3}},
    ) + Published.table(
        source="MiSLAS",
        family="other",
        grade="A",
        backbone={"imagenet-lt": "resnet50", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
        settings={"crops": "of the original files"},
        settings_of={"imagenet-lt": {"natural": {"recipe.epochs": 180}}},
        accuracies={
            "imagenet-lt": {"natural": 52.0},
            "places-lt": {"natural": 39.7},
            "inaturalist2018": {"natural": 70.9},
        },
    )

    def retrains(self) -> Mapping[str, float]:
        return {"heads.*.log_scale": 1.0}

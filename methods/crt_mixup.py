"""cRT on features trained with mixup.

Zhong, Cui, Liu, Jia: Improving Calibration for Long-Tailed Recognition, CVPR 2021, arXiv 2104.00466, section 3.2: stage
1 is mixup, shared with `mixup`; stage 2 is that of `crt`: a new classifier on class-balanced batches, without mixup.
Deviation: as in `crt`. The published accuracies use learning-rate steps of 0.1 instead of 0.01.
"""

from ltbench import Decoupled, Published


class CrtMixup(Decoupled):
    """Mixup, then a new classifier on frozen features, trained with class-balanced batches."""

    after = "mixup"
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
        accuracies={"cifar10": {100: 79.1, 50: 84.2, 10: 89.8}, "cifar100": {100: 45.1, 50: 50.9, 10: 62.1}},
    ) + Published.table(
        source="MiSLAS",
        family="other",
        grade="A",
        backbone={"imagenet-lt": "resnet50", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
        settings={"crops": "of the original files"},
        settings_of={"imagenet-lt": {"natural": {"recipe.epochs": 180}}},
        accuracies={
            "imagenet-lt": {"natural": 51.7},
            "places-lt": {"natural": 38.3},
            "inaturalist2018": {"natural": 70.2},
        },
    )

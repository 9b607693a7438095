"""MiSLAS: mixup, label-aware smoothing and shifted batch norm.

Zhong, Cui, Liu, Jia: Improving Calibration for Long-Tailed Recognition, CVPR 2021, arXiv 2104.00466. Stage 1 is mixup,
shared with `mixup`. Stage 2 trains one scale per class and, with a lower learning rate, the classifier with label-aware
smoothing on class-balanced batches; batch-norm statistics are updated, its weights frozen ("shift learning").
Deviation: scales as in `lws`; stage 2 takes a fraction of the recipe's epochs (paper: 10 after 200); stage 1 uses the
recipe's learning-rate steps (paper: 0.1); the defaults are those for CIFAR-100 with imbalance factor 100, and the
paper's differ by data set and factor (see ``published``), as does the shift; the paper reports the best test epoch.
"""

from collections.abc import Mapping

from torch import Tensor

from ltbench import Batch, Clock, Decoupled, Network, Published, Range
from ltbench.method.functional import label_aware_smoothing, smoothed_cross_entropy


class Mislas(Decoupled):
    """Mixup, then class scales and classifier are trained with label-aware smoothing."""

    after = "mixup"
    classifier = "scaled"
    epochs = Range(0.05, 0.05, 0.3)
    head_lr = Range(0.2, 0.05, 1.0, log=True)  # classifier's learning rate / that of the scales
    smooth_head = Range(0.4, 0.1, 0.5)
    smooth_tail = Range(0.1, 0.0, 0.2)
    published = Published.table(
        source="MiSLAS",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.classifier_init": "ldam", "recipe.decay": 0.1, "weight_decay": 2e-4},
        accuracies={"cifar10": {100: 82.1, 50: 85.7, 10: 90.0}, "cifar100": {100: 47.0, 50: 52.3, 10: 63.2}},
        settings_of={
            "cifar10": {
                100: {"smooth_head": 0.3, "smooth_tail": 0.0, "head_lr": 0.5, "batch_norm": "eval"},
                50: {"smooth_head": 0.2, "smooth_tail": 0.0, "head_lr": 0.2, "batch_norm": "eval"},
                10: {"smooth_head": 0.1, "smooth_tail": 0.0, "head_lr": 0.2, "batch_norm": "eval"},
            },
            "cifar100": {
                100: {"smooth_head": 0.4, "smooth_tail": 0.1},
                50: {"smooth_head": 0.3, "smooth_tail": 0.0},
                10: {"smooth_head": 0.2, "smooth_tail": 0.0, "head_lr": 0.1},
            },
        },
    ) + Published.table(
        source="MiSLAS",
        family="other",
        grade="A",
        backbone={"imagenet-lt": "resnet50", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
        settings={"crops": "of the original files"},
        settings_of={"imagenet-lt": {"natural": {"recipe.epochs": 180}}},
        accuracies={
            "imagenet-lt": {"natural": 52.7},
            "places-lt": {"natural": 40.4},
            "inaturalist2018": {"natural": 71.6},
        },
    )

    def retrains(self) -> Mapping[str, float]:
        return {"heads.*.log_scale": 1.0, "heads.*": self.head_lr}

    def setup(self, counts: Tensor) -> None:
        self.smoothing = label_aware_smoothing(counts, self.smooth_head, self.smooth_tail).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return smoothed_cross_entropy(net(batch.images).float(), batch.labels, self.smoothing)

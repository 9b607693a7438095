"""CMO with balanced softmax.

Park, Hong, Heo, Yun, Choi: The Majority Can Help the Minority, CVPR 2022, arXiv 2112.00412, section 4: `cmo` whose
losses for both labels are balanced softmax (Ren et al., NeurIPS 2020, arXiv 2007.10740), -log(n_y exp(z_y) / sum_j n_j
exp(z_j)).
Deviation: as in `cmo`.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Clock, PastedMinority, Published


class CmoBalancedSoftmax(PastedMinority):
    """CutMix that pastes patches of mostly rare classes, with the log class sizes added to the logits."""

    corrects = "log prior in the logits"
    published = (
        Published.table(
            source="CMO (copy in H2T)",
            family="F1",
            grade="B",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.classifier_init": "ldam"},
            accuracies={"cifar100": {100: 46.6, 50: 51.4}},
        )
        + Published.table(
            source="CMO",
            family="F4",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={
                "recipe.weight_decay": 2e-4,
                "recipe.classifier_init": "ldam",
                "schedule": "as PaCo",
                "augmentation": "RandAugment",
            },
            accuracies={"cifar100": {100: 51.7, 50: 56.7, 10: 65.3}},
        )
        + Published.table(
            source="CMO, repository",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"recipe.epochs": 100, "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 52.3}},
            groups={"imagenet-lt": {"natural": (62.0, 49.1, 36.7)}},
        )
        + Published.table(
            source="CMO, repository (400 epochs)",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"recipe.epochs": 400, "augmentation": "RandAugment", "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 58.0}, "inaturalist2018": {"natural": 74.0}},
        )
    )

    def setup(self, counts: Tensor) -> None:
        self.log_counts = counts.log().float()

    def of_labels(self, logits: Tensor, labels: Tensor, clock: Clock) -> Tensor:
        return F.cross_entropy(logits.float() + self.log_counts, labels)

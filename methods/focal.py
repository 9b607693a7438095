"""Focal loss, in its softmax form.

Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002, equation 4:
loss = -(1 - p_y) ** gamma * log p_y, with p = softmax(z).
Deviation: softmax in place of one-vs-all sigmoids, as usual in the long-tail literature.
"""

from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import focal_loss


class Focal(Method):
    """Cross-entropy that gives well-classified examples less weight."""

    gamma = Range(1.0, 0.25, 3.0)
    published = (
        Published.table(
            source="Cao19 table 2",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={
                "recipe.classifier_init": "ldam",
                "loss": "may be the sigmoid form, with gamma chosen on the test set",
            },
            accuracies={"cifar10": {100: 70.38, 10: 86.66}, "cifar100": {100: 38.41, 10: 55.78}},
        )
        + Published.table(
            source="BagofTricks-LT gallery",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.nesterov": True, "gamma": 2.0, "loss": "one-vs-all sigmoids, summed over the classes"},
            accuracies={"cifar10": {50: 77.91}, "cifar100": {50: 41.79}},
        )
        + Published.table(
            source="Survey (Zhang et al., TPAMI 2023)",
            family="other",
            grade="A",
            backbone="resnext50_32x4d",
            settings={
                "recipe.epochs": 90,
                "recipe.batch_size": 256,
                "recipe.lr": 0.1,
                "schedule": "linear",
                "crops": "of the original files",
            },
            accuracies={"imagenet-lt": {"natural": 45.8}},
        )
        + Published.table(
            source="TDE (copy)",
            family="other",
            grade="B",
            backbone="resnext50_32x4d",
            settings={"crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 43.7}},
            groups={"imagenet-lt": {"natural": (64.3, 37.1, 8.2)}},
        )
    )

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return focal_loss(net(batch.images), batch.labels, self.gamma)

"""MiSLAS: mixup, label-aware smoothing and shifted batch norm.

Zhong, Cui, Liu, Jia: Improving Calibration for Long-Tailed Recognition, CVPR 2021, arXiv 2104.00466. Stage 1 is trained
with mixup (`mixup`, shared with it). Stage 2, on class-balanced batches: label-aware smoothing trains one factor a
class and, more slowly, the classifier; batch-norm statistics move while its weights are frozen ("shift learning on
batch norm").
Deviation: factors as in lws; length of stage 2 a fraction of the recipe's (paper: 10 after 200 epochs); learning-rate
steps of stage 1 are the recipe's (paper: 0.1); the paper reports the best test epoch.
"""

from collections.abc import Mapping

from torch import Tensor

from ltbench import Batch, Clock, Decoupled, Figure, Network, Range
from ltbench.method.functional import label_aware_smoothing, smoothed_cross_entropy


class Mislas(Decoupled):
    """Mixup training, then class factors and classifier are tuned with label-aware smoothing."""

    after = "mixup"
    classifier = "scaled"
    epochs = Range(0.05, 0.05, 0.3)
    head_lr = Range(0.2, 0.05, 1.0, log=True)  # of the learning rate of the factors
    smooth_head = Range(0.4, 0.1, 0.5)
    smooth_tail = Range(0.1, 0.0, 0.2)
    published = (
        Figure("cifar10", "100", 82.1, "MiSLAS", "F1", "A"),
        Figure("cifar10", "50", 85.7, "MiSLAS", "F1", "A"),
        Figure("cifar10", "10", 90.0, "MiSLAS", "F1", "A"),
        Figure("cifar100", "100", 47.0, "MiSLAS", "F1", "A"),
        Figure("cifar100", "50", 52.3, "MiSLAS", "F1", "A"),
        Figure("cifar100", "10", 63.2, "MiSLAS", "F1", "A"),
    )

    def retrains(self) -> Mapping[str, float]:
        return {"heads.*.log_scale": 1.0, "heads.*": self.head_lr}

    def setup(self, counts: Tensor) -> None:
        self.smoothing = label_aware_smoothing(counts, self.smooth_head, self.smooth_tail).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return smoothed_cross_entropy(net(batch.images).float(), batch.labels, self.smoothing)

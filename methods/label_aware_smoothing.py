"""Label-aware smoothing, used from the start of training.

Zhong, Cui, Liu, Jia: Improving Calibration for Long-Tailed Recognition, CVPR 2021, arXiv 2104.00466, equations 6 and 7:
label smoothing whose strength grows with the size of the class, from ``tail`` to ``head``.
Deviation: the paper uses it in its second stage only (see mislas). The defaults are the paper's for ratio 100.
"""

from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range
from ltbench.method.functional import label_aware_smoothing, smoothed_cross_entropy


class LabelAwareSmoothing(Method):
    """Cross-entropy to targets that are smoothed more for frequent classes."""

    head = Range(0.4, 0.1, 0.5)
    tail = Range(0.1, 0.0, 0.2)
    published = (
        Figure("cifar10", "100", 72.51, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "50", 77.96, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "100", 37.68, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "50", 43.78, "BagofTricks-LT gallery", "F1", "A"),
    )

    def setup(self, counts: Tensor) -> None:
        self.smoothing = label_aware_smoothing(counts, self.head, self.tail).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return smoothed_cross_entropy(net(batch.images).float(), batch.labels, self.smoothing)

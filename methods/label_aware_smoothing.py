"""Label-aware smoothing, used from the start of training.

Zhong, Cui, Liu, Jia: Improving Calibration for Long-Tailed Recognition, CVPR 2021, arXiv 2104.00466, equations 6 and 7:
label smoothing whose strength grows with the size of the class, from ``tail`` to ``head``. The defaults are the paper's
for CIFAR-100 with imbalance factor 100. The smoothing is divided among all C classes, as in the authors' code (equation
6: among the C - 1 others).
Deviation: the paper uses it in its second stage only (see `mislas`).
"""

from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import label_aware_smoothing, smoothed_cross_entropy


class LabelAwareSmoothing(Method):
    """Label smoothing that is stronger for frequent classes."""

    head = Range(0.4, 0.1, 0.5)
    tail = Range(0.1, 0.0, 0.2)
    published = Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.nesterov": True, "head": 0.4, "tail": 0.1},
        accuracies={"cifar10": {100: 72.51, 50: 77.96}, "cifar100": {100: 37.68, 50: 43.78}},
    )

    def setup(self, counts: Tensor) -> None:
        self.smoothing = label_aware_smoothing(counts, self.head, self.tail).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return smoothed_cross_entropy(net(batch.images).float(), batch.labels, self.smoothing)

"""Label smoothing.

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: Rethinking the Inception Architecture for Computer Vision, CVPR 2016,
arXiv 1512.00567, section 7: cross-entropy to targets of 1 - epsilon + epsilon / C for the label, epsilon / C elsewhere.
Not meant for long tails: it belongs among the baselines. Deviation: none.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range


class LabelSmoothing(Method):
    """Cross-entropy to targets that leave a little to every class."""

    epsilon = Range(0.1, 0.01, 0.3)
    published = (
        Figure("cifar10", "100", 72.81, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "50", 76.57, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "100", 38.44, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "50", 42.34, "BagofTricks-LT gallery", "F1", "A"),
    )

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images), batch.labels, label_smoothing=self.epsilon)

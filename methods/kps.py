"""KPS loss: key point sensitive loss.

Li, Cheung, Hu: Key Point Sensitive Loss for Long-Tailed Visual Recognition, IEEE TPAMI 45 (2023), doi
10.1109/TPAMI.2022.3196044, as in the authors' code: the logit of class j is s_j cos_j with s_j = log(50 n_j / n_min) /
log 50. From the label's logit a margin is subtracted, which is the s of the class of the reversed rank (the rarest
class has that of the most frequent one), with ``max_margin`` as the largest. All logits are multiplied by ``scale``;
late in training (gradient adjustment) by ``scale`` times the s of the reversed rank of the label, at most 50. Cosines
predict.
Deviation: none from the authors' code for CIFAR, whose batches have 64 images.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Range
from ltbench.method.functional import by_reversed_size, subtract_margin

LARGEST = 50.0  # of the scale


class KeyPointSensitive(Method):
    """Cosines scaled by class size in training, with margins for rare classes and stronger gradients of them later."""

    classifier = "cosine"
    max_margin = Range(0.2, 0.1, 0.5)
    scale = Range(15.0, 10.0, 30.0, log=True)
    adjust_at = Range(0.6, 0.5, 0.9)  # progress from which gradients are adjusted
    corrects = "scale of each class in the logits"

    def setup(self, counts: Tensor) -> None:
        scales = (50 * counts / counts.min()).log() / math.log(50)
        opposite = by_reversed_size(scales, counts)
        self.scales = scales.float()
        self.margins = (self.max_margin * opposite / opposite.max()).float()
        self.late = (self.scale * opposite).clamp(self.scale, LARGEST).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        logits = subtract_margin(self.scales * net(batch.images).float(), batch.labels, self.margins)
        late = torch.where(clock.progress >= self.adjust_at, self.late, self.scale * torch.ones_like(self.late))
        return F.cross_entropy(late[batch.labels, None] * logits, batch.labels)

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return self.scale * super().predict(net, images)

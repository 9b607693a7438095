"""CMO with LDAM and deferred re-weighting.

Park, Hong, Heo, Yun, Choi: The Majority Can Help the Minority, CVPR 2022, arXiv 2112.00412, section 4: `cmo` whose
losses for both labels are those of `ldam_drw` (Cao et al., NeurIPS 2019, arXiv 1906.07413): margins M * n_j ** -1/4 /
max_k n_k ** -1/4 on the label's cosine, times the scale s, and late in training class weights by effective numbers.
Deviation: as in `cmo`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Clock, Network, PastedMinority, Published, Range
from ltbench.method.functional import effective_number_weights, ldam_margins, subtract_margin


class CmoLdamDrw(PastedMinority):
    """CutMix that pastes patches of mostly rare classes, with margins for rare classes and late class weights."""

    classifier = "cosine"
    max_margin = Range(0.5, 0.1, 0.8)
    scale = Range(30.0, 10.0, 40.0, log=True)
    defer_at = Range(0.8, 0.7, 0.95)  # progress of training from which classes are weighted
    corrects = "class weights in the loss"
    published = Published.table(
        source="CMO (copy in H2T)",
        family="F1",
        grade="B",
        epoch="best-on-test",
        subset_seed=0,
        accuracies={"cifar100": {100: 47.2, 50: 51.7, 10: 58.4}},
    )

    def setup(self, counts: Tensor) -> None:
        self.margins = ldam_margins(counts, self.max_margin).float()
        self.weights = effective_number_weights(counts, 0.9999).float()

    def of_labels(self, logits: Tensor, labels: Tensor, clock: Clock) -> Tensor:
        weights = torch.where(clock.progress >= self.defer_at, self.weights, torch.ones_like(self.weights))
        cosines = subtract_margin(logits.float(), labels, self.margins)
        return F.cross_entropy(self.scale * cosines, labels, weights)

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return self.scale * super().predict(net, images)

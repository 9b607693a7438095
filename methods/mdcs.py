"""MDCS: more diverse experts that learn from their own predictions of weakly augmented images.

Zhao, Jiang, Hu, Zhang, Liu: MDCS: More Diverse Experts with Consistency Self-distillation for Long-tailed Recognition,
ICCV 2023, arXiv 2308.09922: expert k is trained with CE(z + tau_k log n), tau_k in {-1/2, 1, 5/2}, on a weak and a
strong view of each image. Where its adjusted logits of the weak view are right, the expert also imitates them on the
strong view: ``weight`` times the sum over experts of the mean KL(p_weak || p_strong), p_weak without gradient; the
weight grows from 0 in the first twentieth of training. The experts' mean logits predict. As in the authors' code, a
logit is ``scale`` times a cosine, and each expert owns the last two stages with 3/4 of the channels.
Deviation: the weak view is not rotated (code: by up to 15 degrees). On digits, 20 epochs, one seed: 56.3 %, `ce` 60.6.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Again, Augmented, Batch, Clock, Method, Network, Published, Range, instance_balanced


def self_distillation(weak: Tensor, strong: Tensor, labels: Tensor) -> Tensor:
    """Sum over experts of the mean KL(p_weak || p_strong) over images whose weak view is recognised.

    weak, strong: [K, B, C], labels: [B] -> 0-dim; an expert that recognises none counts 0.
    """
    taught, log_p = weak.detach().log_softmax(2), strong.log_softmax(2)
    right = (taught.argmax(2) == labels).to(log_p.dtype)
    divergence = (taught.exp() * (taught - log_p)).sum(2)
    return ((right * divergence).sum(1) / right.sum(1).clamp_min(1)).sum()


class Mdcs(Method):
    """Three experts for a frequent, a uniform and a rare prior, which agree on two views of an image."""

    classifier = "cosine"
    branches = 3
    branches_own = "last two stages"
    branches_width = 0.75
    heads = ("many", "uniform", "few")
    streams = {"weak": Augmented(instance_balanced, "none"), "strong": Again("weak", "autoaugment+cutout")}
    needs_pixels = "needs two views of each image"
    weight = Range(0.6, 0.1, 1.0)
    spread = Range(1.5, 0.5, 2.5)  # of tau around 1
    scale = Range(30.0, 10.0, 40.0, log=True)
    corrects = "log prior in the logits"
    cost = 2.9
    published = Published.table(
        source="MDCS (copies in later papers)",
        family="other",
        grade="B",
        backbone="resnet50",
        settings={"recipe.epochs": 400, "crops": "of the original files"},
        accuracies={"imagenet-lt": {"natural": 60.7}},
    )

    def setup(self, counts: Tensor) -> None:
        taus = (1 - self.spread, 1.0, 1 + self.spread)
        self.shifts = torch.stack([tau * counts.log() for tau in taus]).float()[:, None]

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        logits = self.scale * net.experts(batch.images).float() + self.shifts
        classified = F.cross_entropy(logits.flatten(0, 1), batch.labels.repeat(3)) * 3
        weak, strong = logits.chunk(2, 1)
        grown = (20 * clock.progress + 0.05).clamp_max(1)  # code: epoch / 20 of 400, from 1 on
        return classified + self.weight * grown * self_distillation(weak, strong, batch.part("weak", batch.labels))

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return self.scale * net.experts(images).mean(0)

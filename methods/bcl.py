"""BCL: balanced contrastive learning.

Zhu, Wang, Chen, Chen, Jiang: Balanced Contrastive Learning for Long-Tailed Visual Recognition, CVPR 2022, arXiv
2207.09052, equations 8 to 10. Logit adjustment for the classifier, plus a supervised contrastive loss whose denominator
averages over each class and which adds a learned prototype of every class to every batch. As in the authors' code, a
logit is ``scale`` times a cosine, a prototype is the classifier's weight row after a small network, the first of three
views is classified and the other two are contrasted, and the losses have the weights 1 and 0.35.
Deviation: the first view has AutoAugment and Cutout after the recipe's crop and flip, as reported for CIFAR; the others
have RandAugment (paper: SimAugment; code: that, or RandAugment after colour jitter and grey scale). Points have 128
dimensions (code, for ImageNet: 1024).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Again, Augmented, Batch, Clock, Method, Network, Range, instance_balanced
from ltbench.method.functional import log_prior


def balanced_contrastive(points: Tensor, labels: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """Balanced contrastive loss. points: [N, D], prototypes: [C, D], unit length; labels: [N] -> 0-dim, the mean."""
    everyone = torch.cat([points, prototypes])
    theirs = torch.cat([labels, torch.arange(len(prototypes), device=labels.device)])
    similarity = points @ everyone.T / temperature
    alike = labels[:, None] == theirs
    itself = torch.eye(len(points), len(everyone), dtype=torch.bool, device=points.device)
    members = (theirs[:, None] == labels).sum(1) + 1  # size of each one's class, with the prototype
    others = torch.where(alike, (members - 1).clamp_min(1).log(), members.log())  # a point is not counted
    log_denominator = (similarity - others).masked_fill(itself, -torch.inf).logsumexp(1)
    partners = (alike & ~itself).to(points.dtype)
    return (log_denominator - (similarity * partners).sum(1) / partners.sum(1)).mean()


class Bcl(Method):
    """Logit adjustment plus a contrastive loss in which every class has equal weight."""

    classifier = "cosine"
    streams = {
        "classified": Augmented(instance_balanced, "autoaugment+cutout"),
        "first": Again("classified", "randaugment"),
        "second": Again("classified", "randaugment"),
    }
    heads = ("main", "points", "prototypes")
    needs_pixels = "needs two views of each image"
    weight = Range(0.35, 0.1, 2.0, log=True)
    temperature = Range(0.1, 0.05, 0.3, log=True)
    scale = Range(30.0, 10.0, 40.0, log=True)
    corrects = "log prior in the logits"
    cost = 3.0

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        if name == "main":
            return super().build_head(name, width, classes)
        return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 128))

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        features = net.features(batch.images)
        cosines, labels = net.heads["main"](features).float(), batch.labels.chunk(3)
        adjusted = F.cross_entropy(self.scale * cosines.chunk(3)[0] + self.log_prior, labels[0])
        points = F.normalize(net.heads["points"](features).float()).chunk(3)  # normalised with the classified view
        prototypes = F.normalize(net.heads["prototypes"](net.heads["main"].get_parameter("weight")).float())
        contrast = balanced_contrastive(torch.cat(points[1:]), torch.cat(labels[1:]), prototypes, self.temperature)
        return adjusted + self.weight * contrast

    def predict(self, net: Network, images: Tensor) -> Tensor:
        cosines: Tensor = net(images)
        return self.scale * cosines

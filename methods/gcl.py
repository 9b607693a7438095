"""GCL: Gaussian clouded logit adjustment.

Li, Cheung, Lu: Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment, CVPR 2022, arXiv 2305.10648:
each cosine is lowered by noise |e| (log n_max - log n_j) / (log n_max - log n_min), with e normal, of
standard deviation 1/3 and at most 1: the cloud of a rare class is larger. Stage 2 trains the classifier on
class-balanced batches. Settings are those of the authors' code for CIFAR: stage 1 with mixup and scale 30; stage 2 with
mixup, scale 20, margin 0.1, focal weights 1 - p without gradient, and learning rate 0.002 (a cosine from 0.02, of which
the code's only group of parameters gets a tenth).
Deviation: the length of stage 2 is a fraction of the recipe's epochs (code: 30 after 200).
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range, Stage, class_balanced, instance_balanced
from ltbench.method.functional import mixed, spread, subtract_margin


def cloud(noise: Tensor, rarity: Tensor) -> Tensor:
    """What cosines are lowered by, [B, C]. noise: [B] in [0, 1), rarity: [C] from 0 to 1."""
    normal = torch.erfinv(2 * spread(noise, len(rarity)) - 1) * 2**0.5 / 3
    return normal.abs().clamp_max(1) * rarity


class Gcl(Method):
    """Cosines lowered by noise that is larger for rare classes, with mixup; then the classifier on balanced batches."""

    classifier = "cosine"
    strength = Range(0.5, 0.25, 1.0)
    scale = Range(30.0, 10.0, 40.0, log=True)
    late_scale = Range(20.0, 10.0, 40.0, log=True)
    margin = Range(0.1, 0.0, 0.5)
    alpha = Range(1.0, 0.1, 1.0)
    epochs = Range(0.15, 0.05, 0.3)  # of stage 2, as a fraction of the recipe's epochs
    lr = Range(0.002, 0.0005, 0.1, log=True)  # of stage 2
    cost = 1.05
    published = Published.table(
        source="GCL (copy in H2T)",
        family="F1",
        grade="B",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.batch_size": 64, "recipe.decay": 0.1},
        accuracies={"cifar100": {200: 44.76, 100: 48.61, 50: 53.55}},
    ) + Published.table(
        source="GCL, repository",
        family="other",
        grade="A",
        backbone={"imagenet-lt": "resnet50", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
        settings={"crops": "of the original files"},
        accuracies={
            "imagenet-lt": {"natural": 54.884},
            "places-lt": {"natural": 40.641},
            "inaturalist2018": {"natural": 72.005},
        },
    )

    def stages(self) -> Sequence[Stage]:
        return (
            Stage("features", streams={"main": instance_balanced}),
            Stage(
                "classifier",
                trains="heads",
                streams={"main": class_balanced},
                epochs=self.epochs,
                lr=self.lr,
                schedule="cosine",
                batch_norm="eval",
                loss=self.late_loss,
            ),
        )

    def setup(self, counts: Tensor) -> None:
        rarity = counts.max().log() - counts.log()
        self.rarity = (rarity / rarity.max().clamp_min(1e-12)).float()

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return np.concatenate([generator.beta(self.alpha, self.alpha, (1, draws)), generator.random((2, draws))])

    def clouded(self, net: Network, batch: Batch, margin: float, scale: float, focal: bool) -> Tensor:
        """The loss of mixed images: that of both labels, each with a cloud of its own."""
        share, total = batch.noise[0, 0], torch.zeros((), device=batch.images.device)
        cosines = net(mixed(batch.images, share)).float()
        margins = torch.full_like(self.rarity, margin)
        for part, noise, labels in (
            (share, batch.noise[1], batch.labels),
            (1 - share, batch.noise[2], batch.labels.roll(1)),
        ):
            lowered = subtract_margin(cosines - self.strength * cloud(noise, self.rarity), labels, margins)
            losses = F.cross_entropy(scale * lowered, labels, reduction="none")
            weights = 1 - (-losses.detach()).exp() if focal else torch.ones_like(losses)
            total = total + part * (weights * losses).mean()
        return total

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return self.clouded(net, batch, 0.0, self.scale, focal=False)

    def late_loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Stage 2."""
        return self.clouded(net, batch, self.margin, self.late_scale, focal=True)

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return self.late_scale * super().predict(net, images)

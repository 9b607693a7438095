"""CC-SAM: class-conditional sharpness-aware minimisation of the classifier, then adversarial features.

Zhou, Li, Zhao, Heng, Gong: Class-Conditional Sharpness-Aware Minimization for Deep Long-Tailed Recognition, CVPR 2023.
Stage 1: (1 - flat) L_mixup + ``flat`` times the cross-entropy of each image where the classifier's weight and bias are
w + r_y g / |g|, with g the gradient of L_mixup of the images of its class y, and r_y = rho (|w| / |g|) ** 1/2
(k / (n_y - 1)) ** 1/4 / 2 ** 1/2 for a classifier of k parameters. Stage 2, on balanced batches with frozen features:
(1 - a) L + a v_y L(h + v_y d / |d|), with d the gradient of the loss of the class by its features h, v_j =
log(n_max / n_j + 0.01) / 2, and a that grows to at most ``adversarial``.
Deviation: none from the authors' code for CIFAR, which climbs in the classifier only (paper: in all parameters),
except: stage 2 continues from the last epoch (code: the best on the test images) and takes a fraction of the recipe's
epochs; a class of one image counts as two; the code's network has 30 layers. The defaults are those for CIFAR-100 (for
CIFAR-10: flat = 0.3, adversarial = 1). On digits, 20 epochs, one seed: 52.2 %, `ce` 60.6.
"""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ltbench import Batch, Clock, Method, Network, Range, Stage, class_balanced
from ltbench.method.functional import mixed, mixed_cross_entropy

TINY = 1e-24
FIRST = 1 / 30  # of the adversarial share: the authors' stage 2 has 30 epochs


def errors(logits: Tensor, labels: Tensor, share: Tensor | float = 1.0) -> Tensor:
    """Gradient of the mixed cross-entropy of each image by its logits, [B, C]. logits: [B, C], labels: [B]."""
    own, partner = (F.one_hot(y, logits.shape[1]) for y in (labels, labels.roll(1, 0)))
    return (logits.softmax(1) - share * own - (1 - share) * partner).detach()


def climbs(features: Tensor, wrong: Tensor, labels: Tensor) -> Tensor:
    """What logits gain from a step of a linear classifier along g / |g| ** 1.5, of the class of each image: [B, C].

    g is the gradient of weight and bias, each by its own length: sums of products of ``wrong`` [B, C], the errors of
    images, and their ``features`` [B, D], so it need not be stored for each class. labels: [B].
    """
    fixed, same = features.detach(), (labels[:, None] == labels).to(wrong.dtype)
    mean = same / same.sum(1, keepdim=True)  # row i: the mean over the images of the class of image i
    of_weight = ((mean @ ((fixed @ fixed.T) * (wrong @ wrong.T))) * mean).sum(1, keepdim=True)
    of_bias = mean @ wrong
    lengths = [squared.clamp_min(TINY) ** 0.75 for squared in (of_weight, of_bias.square().sum(1, keepdim=True))]
    return ((features @ fixed.T) * mean) @ wrong / lengths[0] + of_bias / lengths[1]


class CcSam(Method):
    """A classifier at its highest loss nearby, farther away for rare classes; then one for adversarial features."""

    rho = Range(1e-6, 1e-7, 1e-3, log=True)
    flat = Range(0.5, 0.1, 0.9)
    adversarial = Range(0.3, 0.1, 1.0)
    alpha = Range(1.0, 0.1, 1.0)
    epochs = Range(0.15, 0.05, 0.3)  # of stage 2, as a fraction of the recipe's epochs
    lr = Range(0.01, 0.001, 0.1, log=True)  # of stage 2
    corrects = "class weights in the loss"
    double_correction = True  # the authors' stage 2 has class weights on balanced batches
    cost = 1.05

    def stages(self) -> Sequence[Stage]:
        late = Stage(
            "classifier",
            trains="heads",
            streams={"main": class_balanced},
            epochs=self.epochs,
            lr=self.lr,
            schedule="constant",
            loss=self.late_loss,
        )
        return Stage("features"), late

    def setup(self, counts: Tensor) -> None:
        self.radii = (self.rho * (2 * (counts - 1).clamp_min(1).sqrt()) ** -0.5).float()
        self.weights = ((counts.max() / counts + 0.01).log() / 2).float()

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.beta(self.alpha, self.alpha, size=(1, draws))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        share, labels, head = batch.noise[0, 0], batch.labels, net.heads["main"]
        features = net.features(mixed(batch.images, share))
        logits = head(features).float()
        values = nn.utils.parameters_to_vector(head.parameters()).detach()
        radii = self.radii[labels, None] * values.norm().sqrt() * len(values) ** 0.25
        climbed = logits + radii * climbs(features.float(), errors(logits, labels, share), labels)
        plain = mixed_cross_entropy(logits, labels, share)
        return (1 - self.flat) * plain + self.flat * F.cross_entropy(climbed, labels)

    def late_loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        labels, head, features = batch.labels, net.heads["main"], net.features(batch.images)
        logits, weights = head(features).float(), self.weights[batch.labels]
        slopes = errors(logits, labels) @ head.get_parameter("weight").detach().float()
        lengths = ((labels[:, None] == labels).to(slopes.dtype) @ slopes.square().sum(1)).clamp_min(TINY).sqrt()
        moved = head(features + (weights / lengths)[:, None] * slopes).float()
        adversarial = (weights * F.cross_entropy(moved, labels, reduction="none")).mean()
        share = (clock.progress + FIRST).clamp_max(self.adversarial)
        return (1 - share) * F.cross_entropy(logits, labels) + share * adversarial

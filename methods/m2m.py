"""M2m: major-to-minor translation.

Kim, Jeong, Shin: M2m: Imbalanced Classification via Major-to-minor Translation, CVPR 2020, arXiv 2004.00431: from
``defer_at`` on, batches are class-balanced, and an image of class y is replaced with probability 1 - n_y / n_max by one
that a helper network g, trained with cross-entropy, sees as y. It starts from an image of a class k in the batch, with
probability ~ 1 - beta ** max(0, n_k - n_y), and takes ten steps x - 0.1 d / |d| in pixels from 0 to 1, where d is the
gradient of CE(g(x), y) + ``weight`` f_k(x) and f the network in training. It is used with probability
1 - beta ** (n_k - n_y) if g then gives y at least the probability ``gamma``; otherwise the image of y stays.
Deviation: all images of a batch go through the ten steps, since a captured step has no shape that depends on a value;
the authors' code translates only those that are to be replaced. With few images in each class, as on digits, ``beta``
rejects most of them (1 of 1,176 is replaced, 30 with 0.9), so that `ce_drs` remains; theirs is for 500 or 5,000 images.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ltbench import Batch, Clock, Method, Network, Published, Range, Stage, class_balanced, deferred
from ltbench.method.memory import slow_copy
from ltbench.method.translation import Classifier, small_noise, sources, translated


class M2m(Method):
    """Cross-entropy, late in training on balanced batches with images translated from more frequent classes."""

    after = "ce"
    needs_pixels = "translates images"
    beta = Range(0.999, 0.9, 0.9999)
    weight = Range(0.5, 0.01, 1.0, log=True)
    gamma = Range(0.9, 0.8, 0.999)
    defer_at = Range(0.8, 0.7, 0.95)
    cost = 4.7  # the helper's training and the network's, and twenty passes without gradients of weights in a fifth
    published = Published.table(
        source="imbalanced-DL, repository",
        family="other",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"beta": 0.9999, "weight": 0.5, "gamma": 0.9, "first part": "its epoch best on test is the helper"},
        settings_of={"cifar100": {100: {"recipe.epochs": 300, "defer_at": 0.8333}}},
        accuracies={"cifar10": {100: 76.15}, "cifar100": {100: 41.92}},
    )

    def stages(self) -> Sequence[Stage]:
        streams = {"main": deferred(class_balanced, self.defer_at)}
        late = self.with_translated
        return (Stage("translation", new_network=True, streams=streams, late_loss=late, late_from=self.defer_at),)

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        return nn.ModuleDict({"helper": slow_copy(net).eval()})

    def setup(self, counts: Tensor) -> None:
        self.counts = counts.float()

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.random((4, draws))  # whether to replace, the source, whether to use the result, its start

    def with_translated(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Cross-entropy on the batch, in which some images are replaced."""
        return F.cross_entropy(net(self.replaced(net, batch)), batch.labels)

    def replaced(self, net: Network, batch: Batch) -> Tensor:
        """The images [B, channels, H, W] of the batch, some of them replaced by translated ones."""
        helper, labels, sizes = net.memory.get_submodule("helper"), batch.labels, self.counts[batch.labels]
        replace, choice, use, start = batch.noise
        wanted = replace >= sizes / self.counts.max()
        source, likely = sources(sizes, self.beta, choice)
        pixels = (batch.images * batch.std + batch.mean)[source]

        def seen_by(classifier: nn.Module) -> Classifier:
            return lambda values: classifier((values - batch.mean) / batch.std)

        net.eval()
        begun = (pixels + small_noise(start, wanted, pixels.shape)).clamp(0, 1)
        pixels = translated(begun, labels, labels[source], seen_by(helper), seen_by(net), self.weight)
        net.train()
        with torch.no_grad():
            surprise = F.cross_entropy(seen_by(helper)(pixels).float(), labels, reduction="none")
        used = wanted & (use < likely) & (surprise <= -math.log(self.gamma))
        return torch.where(used[:, None, None, None], (pixels - batch.mean) / batch.std, batch.images)

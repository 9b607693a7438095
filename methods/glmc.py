"""GLMC: global and local mixture consistency.

Du, Yang, Jia, Nan, Chen, Yang: Global and Local Mixture Consistency Cumulative Learning for Long-tailed Visual
Recognitions, CVPR 2023, arXiv 2305.08661: an image is mixed with one from a second loader, as a whole
(mixup) and by a patch (CutMix), with the same share. Two classifiers see both mixtures, the second one with class
weights ~ n_j ** -label_power; it predicts. The loss is a L + (1 - a) L_weighted + consistency L_cos with a = 1 -
progress ** 2, where L_cos is minus the cosine between the projection of one mixture, without gradient, and the
prediction of it from the other. The second loader draws images with weight n_j ** -sample_power.
Deviation: none from the authors' code, where the share, not the patch's area, mixes the labels of CutMix. Settings
depend on the data set: see ``published``. The authors' network is a ResNet-32 of 64 channels, with learning rate 0.01.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ltbench import Again, Batch, Clock, Method, Network, Published, Range, Stage, frequency_power, instance_balanced
from ltbench.method.samplers import Stream


def patch(noise: Tensor, height: int, width: int) -> Tensor:
    """Mask [H, W] of the box of CutMix. noise: the share of the image, the box's centre (down, across), in [0, 1)."""
    sides = [torch.floor(torch.ceil(n * torch.sqrt(1 - noise[0])) / 2) for n in (height, width)]
    places = (torch.arange(n, device=noise.device, dtype=noise.dtype) for n in (height, width))
    centres = (torch.floor(noise[1] * height), torch.floor(noise[2] * width))
    rows, columns = ((p >= c - s) & (p < c + s) for p, c, s in zip(places, centres, sides, strict=True))
    return rows[:, None] & columns[None]


class Glmc(Method):
    """Two mixtures of each image, which must agree, and a second classifier whose class weights grow in importance."""

    heads = ("main", "plain", "projection", "prediction")
    needs_pixels = "mixes patches of images"
    label_power = Range(1.2, 0.5, 1.5)
    sample_power = Range(0.0, 0.0, 0.5)
    consistency = Range(4.0, 1.0, 10.0, log=True)
    corrects = "class weights in the loss"
    cost = 2.0
    published = Published.table(
        source="GLMC, repository",
        family="F5",
        grade="A",
        epoch="best-on-test",
        backbone="resnet32_cifar_wide",
        settings={"recipe.classifier_init": "ldam", "label_power": 1.2, "sample_power": 0.0},
        settings_of={
            "cifar10": {
                100: {"consistency": 1.0},
                50: {"consistency": 1.0},
                10: {"consistency": 2.0, "sample_power": 0.2, "label_power": 1.0},
            },
            "cifar100": {
                100: {"consistency": 4.0},
                50: {"consistency": 6.0, "sample_power": 0.2},
                10: {"consistency": 4.0, "sample_power": 0.2},
            },
        },
        accuracies={"cifar10": {100: 88.5, 50: 91.04, 10: 94.87}, "cifar100": {100: 57.97, 50: 63.78, 10: 73.4}},
    ) + Published.table(
        source="GLMC, repository",
        family="other",
        grade="A",
        backbone="resnext50_32x4d",
        settings={
            "recipe.lr": 0.1,
            "recipe.warmup_epochs": 10,
            "label_power": 1.0,
            "sample_power": 0.2,
            "consistency": 10.0,
            "views": "SimAugment",
            "crops": "of the original files",
        },
        settings_of={
            "imagenet-lt": {"natural": {"recipe.epochs": 135, "recipe.batch_size": 120, "recipe.weight_decay": 2e-4}},
            "inaturalist2018": {"natural": {"recipe.epochs": 120, "recipe.batch_size": 128}},
        },
        accuracies={"imagenet-lt": {"natural": 56.3}, "inaturalist2018": {"natural": 72.21}},
        groups={
            "imagenet-lt": {"natural": (70.1, 52.4, 30.4)},
            "inaturalist2018": {"natural": (64.6, 73.16, 73.01)},
        },
    )

    def stages(self) -> Sequence[Stage]:
        streams: dict[str, Stream] = {"image": instance_balanced, "view": Again("image")}
        streams |= {"partner": frequency_power(1 - self.sample_power), "other": Again("partner")}
        return (Stage(streams=streams),)

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        if name in ("main", "plain"):
            return super().build_head(name, width, classes)
        return nn.Linear(width if name == "projection" else 128, 128)

    def setup(self, counts: Tensor) -> None:
        weights = counts**-self.label_power
        self.weights = (len(counts) * weights / weights.sum()).float()

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.random((3, draws))  # the share is from Beta(1, 1), which is uniform

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        share, labels = batch.noise[0, 0], (batch.part("image", batch.labels), batch.part("partner", batch.labels))
        image, view, partner, other = (batch.part(name, batch.images) for name in batch.streams)
        box = patch(batch.noise[:, 0], *image.shape[2:])
        mixtures = (share * image + (1 - share) * partner, torch.where(box, other, view))
        features = [net.features(images) for images in mixtures]  # each in a pass of its own, with its own statistics
        late = clock.progress**2
        total = torch.zeros((), device=image.device)
        for h in features:
            plain, main = net.heads["plain"](h).float(), net.heads["main"](h).float()
            for part, y in zip((share, 1 - share), labels, strict=True):
                weighted = (self.weights[y] * F.cross_entropy(main, y, reduction="none")).mean()
                total = total + part * ((1 - late) * F.cross_entropy(plain, y) + late * weighted)
        projected = torch.stack([net.heads["projection"](h) for h in features])
        cosines = F.cosine_similarity(net.heads["prediction"](projected).float(), projected.detach().flip(0).float(), 2)
        return total - self.consistency * cosines.mean(1).sum()

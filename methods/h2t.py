"""H2T: feature fusion from head to tail.

Li, Hu, Lu, Lan, Cheung, Huang: Feature Fusion from Head to Tail for Long-Tailed Visual Recognition, AAAI 2024, arXiv
2306.06963: after training with mixup, the classifier is trained further on frozen features. In each step, a random part
of the channels of the features of a class-balanced batch is replaced by those of an ordinarily shuffled batch, which
are mostly of frequent classes; the labels are those of the balanced batch.
Deviation: none from the authors' code for CIFAR, where the backbone updates its batch-norm statistics and the two
batches pass through it one after the other. Channels are replaced after pooling, which changes nothing.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ltbench import Batch, Clock, Decoupled, Network, Published, Range, class_balanced, instance_balanced
from ltbench.method.functional import spread


class H2t(Decoupled):
    """Mixup, then the classifier on features of balanced images with some channels of ordinary ones."""

    after = "mixup"
    streams = {"balanced": class_balanced, "ordinary": instance_balanced}
    fused = Range(0.25, 0.1, 0.5)  # share of the channels
    epochs = Range(0.05, 0.05, 0.3)
    lr = Range(0.02, 1e-3, 0.5, log=True)
    cost = 1.03  # forward only below the classifier, for two batches
    published = Published.table(
        source="H2T, slides",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.classifier_init": "ldam", "recipe.decay": 0.1},
        settings_of={"cifar100": {200: {"weight_decay": 2e-4}, 50: {"weight_decay": 2e-4}}},
        accuracies={"cifar100": {200: 43.95, 100: 47.73, 50: 52.95}},
    )

    def retrains(self) -> Mapping[str, float]:
        return {"heads.main.*": 1.0}

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.random((1, draws))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        balanced, ordinary = (net.features(batch.part(name, batch.images)) for name in batch.streams)
        width = balanced.shape[1]
        order = spread(batch.noise[0, :1], width)[0].argsort().argsort()  # a random place for each channel
        features = torch.where(order < int(self.fused * width), ordinary, balanced)
        return F.cross_entropy(net.heads["main"](features).float(), batch.part("balanced", batch.labels))

"""BBN: a bilateral-branch network with cumulative learning.

Zhou, Cui, Wei, Chen: BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual Recognition, CVPR
2020, arXiv 1912.02413, equations 1 to 4. One branch gets ordinary batches, the other reversed ones (p_j ~ 1 / n_j).
The classifier's input is 2 [a f_c ; (1 - a) f_r] with a = 1 - progress ** exponent; the loss is a CE(y_c) + (1 - a)
CE(y_r). At test time a = 1/2. Each branch owns the last block, and each batch goes through the shared layers and their
batch norm alone. Deviation: the recipe's schedule (paper: steps at epochs 120 and 160 of 200).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Batch, Clock, Method, Network, Published, Range, frequency_power, instance_balanced


class Bbn(Method):
    """One branch on ordinary and one on reversed batches, with a weight that moves from the first to the second."""

    branches = 2
    branches_own = "last block"
    streams = {"conventional": instance_balanced, "reversed": frequency_power(-1)}
    exponent = Range(2.0, 1.0, 3.0)
    cost = 2.0
    published = Published.table(
        source="BBN (copy in Board)",
        family="F1",
        grade="B",
        settings={"recipe.nesterov": True, "recipe.milestones": (120, 160)},
        accuracies={"cifar10": {100: 79.82, 50: 82.18, 10: 88.32}, "cifar100": {100: 42.56, 50: 47.02, 10: 59.12}},
    ) + Published.table(
        source="BBN (copy in Board)",
        family="other",
        grade="B",
        backbone="resnet50",
        settings={"recipe.epochs": 90, "crops": "of the original files"},
        accuracies={"inaturalist2018": {"natural": 66.29}},
    )

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        return super().build_head(name, 2 * width, classes)

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        alpha = 1 - clock.progress**self.exponent
        images, labels = batch.images.chunk(2), batch.labels.chunk(2)
        conventional, reversed_ = (net.tail(k, net.trunk(images[k])) for k in range(2))
        logits = net.heads["main"](2 * torch.cat([alpha * conventional, (1 - alpha) * reversed_], dim=1))
        return alpha * F.cross_entropy(logits, labels[0]) + (1 - alpha) * F.cross_entropy(logits, labels[1])

    def predict(self, net: Network, images: Tensor) -> Tensor:
        logits: Tensor = net.heads["main"](net.features(images).flatten(1))
        return logits

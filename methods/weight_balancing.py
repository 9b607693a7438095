"""Weight balancing: strong weight decay, then class-balanced loss with decay and MaxNorm on the classifier.

Alshammari, Wang, Ramanan, Kong: Long-Tailed Recognition via Weight Balancing, CVPR 2022, arXiv 2203.14197. Stage 1 is
cross-entropy with tuned weight decay; stage 2 trains the classifier with the class-balanced loss, weight decay, and
after every epoch |w_j| <= cap = min + threshold (max - min) of the norms |w_j| after stage 1. As in the authors' code,
the loss of stage 2 is the binary cross-entropy of the softmax, averaged over images and classes. Learning rate 0.01
with a cosine schedule in both.
Deviation: the recipe's network and batch (authors': ResNet-34 and batch 64); stage 2 takes a fraction of the recipe's
epochs (authors': 10 after 320) and starts from the last epoch of stage 1 (authors': from the best on the test set).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Batch, Clock, Features, Method, Network, Published, Range, Stage
from ltbench.method.functional import effective_number_weights


def softmax_binary_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over images and classes of -w_y (log p_y for the label, log(1 - p_j) elsewhere), with p = softmax(z).

    logits: [B, C], labels: [B], weights: [C] -> 0-dim.
    """
    log_p = F.log_softmax(logits, dim=1)
    log_others = (-log_p.expm1()).clamp_min(1e-12).log()  # log(1 - p)
    own = labels[:, None] == torch.arange(logits.shape[1], device=labels.device)
    return -(weights[labels, None] * torch.where(own, log_p, log_others)).mean()


class WeightBalancing(Method):
    """Strong weight decay, then a class-balanced loss with a limit on the norm of the classifier's weights."""

    heads = ("main", "cap")  # the second one classifies nothing: it stores the cap with the network, for stage 2
    lr = Range(0.01, 1e-3, 0.1, log=True)
    weight_decay = Range(5e-3, 1e-4, 1e-2, log=True)
    decay = Range(0.1, 1e-3, 0.5, log=True)  # weight decay of stage 2
    threshold = Range(0.1, 0.0, 1.0)
    epochs = Range(0.05, 0.03, 0.3)  # of stage 2, as a fraction of the recipe's epochs
    beta = Range(0.9999, 0.9, 0.9999)
    corrects = "class weights in the loss"
    cost = 1.05
    published = Published.table(
        source="WB",
        family="F5",
        grade="A",
        epoch="best-on-test",
        backbone="resnet34_cifar",
        settings={"recipe.epochs": 320, "lr": 0.01, "epochs": 0.03125},
        accuracies={"cifar100": {100: 53.35}},
    )

    def stages(self) -> Sequence[Stage]:
        features = Stage("features", lr=self.lr, weight_decay=self.weight_decay, schedule="cosine")
        return (
            replace(features, loss=self.plain_loss, finish=self.set_cap),
            replace(
                features,
                name="classifier",
                trains="heads",
                epochs=self.epochs,
                weight_decay=self.decay,
                project=self.max_norm,
                project_after="epoch",
            ),
        )

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        if name == "main":
            return super().build_head(name, width, classes)
        cap = nn.Module()
        cap.register_buffer("norm", torch.tensor(torch.inf))
        return cap

    def setup(self, counts: Tensor) -> None:
        self.weights = effective_number_weights(counts, self.beta).float()

    def plain_loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Stage 1."""
        return super().loss(net, batch, clock)

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return softmax_binary_cross_entropy(net(batch.images).float(), batch.labels, self.weights)

    def set_cap(self, net: Network, features: Features) -> None:
        """Set the limit on the norms of stage 2 from those after stage 1."""
        norms = torch.linalg.vector_norm(net.heads["main"].get_parameter("weight"), dim=1)
        net.heads["cap"].get_buffer("norm").copy_(torch.lerp(norms.min(), norms.max(), self.threshold))

    def max_norm(self, net: Network) -> None:
        """Limit the norm of each class's weights to the cap."""
        weight, cap = net.heads["main"].get_parameter("weight"), net.heads["cap"].get_buffer("norm")
        weight.mul_((cap / torch.linalg.vector_norm(weight, dim=1, keepdim=True)).clamp_max(1))

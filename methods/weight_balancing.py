"""Weight balancing: strong weight decay, then class-balanced loss with decay and MaxNorm on the classifier.

Alshammari, Wang, Ramanan, Kong: Long-Tailed Recognition via Weight Balancing, CVPR 2022, arXiv 2203.14197. Stage 1 is
cross-entropy with tuned weight decay; stage 2 trains the classifier with the class-balanced loss, weight decay, and
after every step |w_j| <= cap. Learning rate 0.01 with a cosine schedule in both.
Deviation: the recipe's network and batch (authors': ResNet-34 and batch 64, tuned on the test set). In stage 2, loss,
decay, cap and length are ours (authors' code: binary cross-entropy, 0.1, a cap from the norms of stage 1, 10 epochs).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range, Stage
from ltbench.method.functional import effective_number_weights


class WeightBalancing(Method):
    """Strong weight decay, then a class-balanced loss with a limit on the norm of the classifier's weights."""

    lr = Range(0.01, 1e-3, 0.1, log=True)
    weight_decay = Range(5e-3, 1e-4, 1e-2, log=True)
    cap = Range(1.0, 0.1, 2.0, log=True)
    epochs = Range(0.1, 0.05, 0.3)  # of stage 2, as a fraction of the recipe's epochs
    beta = Range(0.9999, 0.9, 0.9999)
    corrects = "class weights in the loss"
    cost = 1.05
    published = Published.table(
        source="WB",
        family="F5",
        grade="A",
        epoch="best-on-test",
        backbone="resnet34_cifar",
        settings={"recipe.epochs": 320, "lr": 0.01, "stage 2": "other loss, decay, cap"},
        accuracies={"cifar100": {100: 53.35}},
    )

    def stages(self) -> Sequence[Stage]:
        features = Stage(
            "features", loss=self.plain_loss, lr=self.lr, weight_decay=self.weight_decay, schedule="cosine"
        )
        return features, replace(
            features, name="classifier", loss=None, trains="heads", epochs=self.epochs, project=self.max_norm
        )

    def setup(self, counts: Tensor) -> None:
        self.weights = effective_number_weights(counts, self.beta).float()

    def plain_loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Stage 1."""
        return super().loss(net, batch, clock)

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images), batch.labels, self.weights)

    def max_norm(self, net: Network) -> None:
        """Limit the norm of each class's weights to ``cap``."""
        weight = net.heads["main"].get_parameter("weight")
        weight.copy_(weight.renorm(2, 0, self.cap))

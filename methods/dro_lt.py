"""DRO-LT: distributionally robust features.

Samuel, Chechik: Distributional Robustness Loss for Long-tail Learning, ICCV 2021, arXiv 2104.03066. Before every epoch,
the mean feature m_c of each class is computed. For image i of class c, -log of q_i = exp(-d_i - r_c) / sum_j exp(-d_j),
where d_j is the distance of image j of the batch from m_c, with d_j + r_c for those of class c. The loss is its mean
over the images of a class, then over classes, plus cross-entropy with class weights ~ n_c. The radius r_c is learnt.
It trains the features of a network from `ce`, on batches with four images of a class in a row; then the classifier is
trained with cross-entropy on such batches.
Deviation: the authors' code subtracts radii in another order than that of the images, so that most have the radius of
another one's class. Its means are of augmented images, as often as they are trained on; here of images without
augmentation. That code then goes back to the epoch whose features are best on the test images, and reports the best
epoch of the classifier: here both stages run to their end. Its 80 and 20 epochs have n_max images of each class;
``epochs`` and ``classifier_epochs`` are as many images on CIFAR-100 at imbalance 100, relative to 200 ordinary epochs.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Batch, Clock, Method, Network, Published, Range, Stage
from ltbench.method.samplers import four_in_a_row


def robust_loss(features: Tensor, labels: Tensor, means: Tensor, radius: Tensor) -> Tensor:
    """Compute the robustness loss: features [B, D], labels [B], means [C, D], radius [C] -> 0-dim."""
    own = (labels[:, None] == torch.arange(len(means), device=labels.device)).to(features.dtype)
    logits = -torch.cdist(features, means) - own * radius
    each = ((logits - logits.logsumexp(0)) * own).sum(1)
    number = own.sum(0)
    return -(each / number[labels]).sum() / (number > 0).sum()


class Radius(nn.Module):
    """The radius of each class. It is no function of features, but a part of the network, so that it is trained."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(classes))


class DroLt(Method):
    """Features near the mean of their class, within a learnt radius; then a balanced classifier."""

    after = "ce"
    heads = ("main", "radius")
    streams = {"main": four_in_a_row}
    epochs = Range(1.8, 0.2, 2.0)
    classifier_epochs = Range(0.5, 0.1, 0.5)
    lr = Range(0.005, 1e-4, 0.1, log=True)
    classifier_lr = Range(0.01, 1e-3, 0.1, log=True)
    cost = 3.6  # before each epoch of the features, all images once more without gradients
    published = Published.table(
        source="DRO-LT (copy in WB)",
        family="other",
        grade="B",
        epoch="best-on-test",
        subset_seed=0,
        settings={"augmentation": "AutoAugment and Cutout", "first part": "goes back to its epoch best on test"},
        accuracies={"cifar100": {100: 47.31, 10: 63.41}},
    )

    def stages(self) -> Sequence[Stage]:
        return (
            Stage(
                "features",
                trains={"backbone.*": 1.0, "heads.radius.*": 1.0},
                epochs=self.epochs,
                lr=self.lr,
                weight_decay=1e-4,
                schedule="constant",
                before_epoch=self.take_means,
            ),
            Stage(
                "classifier",
                trains={"heads.main.*": 1.0},
                epochs=self.classifier_epochs,
                lr=self.classifier_lr,
                weight_decay=1e-4,
                schedule="constant",
                batch_norm="eval",
                loss=super().loss,
            ),
        )

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        return Radius(classes) if name == "radius" else super().build_head(name, width, classes)

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        memory, head = nn.Module(), net.heads["main"]
        assert isinstance(head, nn.Linear)
        memory.register_buffer("means", torch.zeros(len(counts), head.in_features))
        return memory

    def setup(self, counts: Tensor) -> None:
        self.weights = (counts / counts.max()).float()

    def take_means(self, net: Network, features: Tensor, labels: Tensor) -> None:
        """Compute the mean feature of each class."""
        means = net.memory.get_buffer("means")
        means.zero_().index_add_(0, labels, features).div_(labels.bincount(minlength=len(means))[:, None])

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        features = net.features(batch.images)
        usual = F.cross_entropy(net.heads["main"](features).float(), batch.labels, self.weights)
        means, radius = net.memory.get_buffer("means"), net.heads["radius"].get_parameter("value")
        return usual + robust_loss(features.float(), batch.labels, means, radius)

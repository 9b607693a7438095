"""ImbSAM: sharpness-aware minimisation for the rare classes only.

Zhou, Qu, Xu, Shen: ImbSAM: A Closer Look at Sharpness-Aware Minimization in Class-Imbalanced Recognition, ICCV 2023,
arXiv 2308.07815: the gradient of frequent classes at w, plus that of classes with fewer than ``few`` images
at w + rho g / |g|, where g is their gradient at w. As in the authors' code, the loss of rare classes counts twice.
Deviation: none from the authors' code, whose loss is cross-entropy (``base``: ce) and whose network is a ResNet-34.
"""

from torch import Tensor

from ltbench import Choice, LossOf, Network, Published, Range, SharpnessAware


class ImbSam(SharpnessAware):
    """The gradient of rare classes at their highest loss near the weights, and that of the others at the weights."""

    base = Choice("ce+drw", ("ldam+drw", "ce+drw", "ce", "logit-adjustment"), searched=False)
    rho = Range(0.05, 0.01, 1.0, log=True)
    few = Range(20, 5, 200, log=True)
    tail_weight = Range(2.0, 1.0, 4.0)
    cost = 2.67
    published = Published.table(
        source="ImbSAM, repository",
        family="F5",
        grade="A",
        epoch="best-on-test",
        backbone="resnet34_cifar",
        settings={"recipe.weight_decay": 1e-3, "base": "ce", "rho": 0.05, "few": 20, "tail_weight": 2.0},
        accuracies={"cifar100": {100: 51.1}},
        groups={"cifar100": {100: (75.9, 53.5, 19.4)}},
    )

    def setup(self, counts: Tensor) -> None:
        super().setup(counts)
        self.rare = (counts < self.few).float()

    def gradient(self, net: Network, loss_of: LossOf) -> Tensor:
        return self.gradient_of_parts(net, loss_of, self.tail_weight * self.rare, 1 - self.rare)

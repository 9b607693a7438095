"""Class-balanced loss: focal loss weighted by the effective number of samples.

Cui, Jia, Lin, Song, Belongie: Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, arXiv 1901.05555,
equation 2: class weights (1 - beta) / (1 - beta ** n_j), scaled to sum to C, from the first step.
Deviation: softmax in place of one-vs-all sigmoids; the mean divides by the batch size. The weights do not enter the
factor (1 - p_y) ** gamma.
"""

from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import effective_number_weights, focal_loss


class ClassBalancedFocal(Method):
    """Focal loss weighted by the effective number of samples of each class, from the first step."""

    gamma = Range(1.0, 0.25, 3.0)
    beta = Range(0.9999, 0.9, 0.9999)
    corrects = "class weights in the loss"
    published = (
        Published.table(
            source="Cao19 table 2",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={
                "recipe.classifier_init": "ldam",
                "loss": "may be the sigmoid form, with gamma chosen on the test set",
            },
            accuracies={"cifar10": {100: 74.57, 10: 87.1}, "cifar100": {100: 36.02, 10: 57.99}},
        )
        + Published.table(
            source="BagofTricks-LT gallery",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.nesterov": True, "loss": "one-vs-all sigmoids, summed over the classes"},
            settings_of={
                "cifar10": {50: {"gamma": 2.0, "beta": 0.9999}},
                "cifar100": {50: {"gamma": 1.0, "beta": 0.99}},
            },
            accuracies={"cifar10": {50: 78.99}, "cifar100": {50: 42.37}},
        )
        + Published.table(
            source="Cao19, iNaturalist 2018",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"loss": "may be the sigmoid form", "crops": "of the original files"},
            accuracies={"inaturalist2018": {"natural": 61.12}},
        )
    )

    def setup(self, counts: Tensor) -> None:
        self.weights = effective_number_weights(counts, self.beta).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return focal_loss(net(batch.images), batch.labels, self.gamma, self.weights)

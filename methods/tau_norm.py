"""tau-normalised classifier.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, section 4.3: after plain training w_j <- w_j / |w_j| ** tau, without bias. Nothing is
trained; tau = 0 leaves the weights as they are. With ``choose=val`` tau is that of 0, 0.1, ..., 2 with the best
balanced accuracy on validation images.
Deviation: stage 1 is trained with a bias (it is shared with `ce`), which is dropped here, as in the authors' code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ltbench import Choice, Features, Figure, Method, Network, Range, Stage
from ltbench.metrics import best_on


def tau_normalised(weight: Tensor, tau: float) -> Tensor:
    """w_j / |w_j| ** tau. weight: [C, D] -> [C, D]."""
    lengths: Tensor = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    return weight / lengths.pow(tau)


class TauNorm(Method):
    """Plain training, then the classifier's weights are brought closer to one length."""

    after = "ce"
    tau = Range(1.0, 0.0, 3.0)
    choose = Choice("given", ("given", "val"), searched=False)
    corrects = "normalised classifier weights"
    published = (
        Figure("cifar10", "100", 72.70, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "50", 79.78, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "100", 40.96, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "50", 45.69, "BagofTricks-LT gallery", "F1", "A"),
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage("post-hoc", epochs=0, finish="normalise"),)

    def normalise(self, net: Network, features: Features) -> None:
        """Divide each class's weights by their length to the power of tau, and drop the bias."""
        tau, head = self.tau, net.heads["main"]
        weight = head.get_parameter("weight")
        if self.choose == "val":
            seen, labels = features("val")
            tau = best_on(labels, {k / 10: seen @ tau_normalised(weight, k / 10).T for k in range(21)})
        weight.copy_(tau_normalised(weight, tau))
        head.get_parameter("bias").zero_()

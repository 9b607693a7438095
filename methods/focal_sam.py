"""Focal-SAM: sharpness-aware minimisation with a weight for each class.

Li, Xu, Yang, Wang, Zhang, Cao, Huang: Focal-SAM: Focal Sharpness-Aware Minimization for Long-Tailed Classification,
ICML 2025, arXiv 2505.01660: class j has the share c_j = sharpness (1 - pi_j) ** gamma. The gradient is that of the loss
times 1 - c_y at w, plus that of the loss times c_y at w + rho g / |g|, where g is the latter's gradient at w.
Deviation: none from the authors' code, whose settings for CIFAR-100 with logit adjustment are the defaults. Its scripts
have tau = 0.75, which its loss ignores. They train in batches of 64 with a cosine schedule and weight decay 1e-3; on
CIFAR-10 with rho 0.2, gamma 3, sharpness 0.5 and weight decay 2e-4.
"""

from torch import Tensor

from ltbench import Choice, LossOf, Network, Range, SharpnessAware


class FocalSam(SharpnessAware):
    """A share of the gradient, larger for rare classes, is taken at the highest loss near the weights."""

    base = Choice("logit-adjustment", ("ldam+drw", "ce+drw", "ce", "logit-adjustment"), searched=False)
    rho = Range(0.3, 0.05, 1.0, log=True)
    gamma = Range(3.2, 0.5, 6.0)
    sharpness = Range(0.8, 0.1, 1.0)
    cost = 2.67

    def setup(self, counts: Tensor) -> None:
        super().setup(counts)
        self.sharp = (self.sharpness * (1 - counts / counts.sum()) ** self.gamma).float()

    def gradient(self, net: Network, loss_of: LossOf) -> Tensor:
        return self.gradient_of_parts(net, loss_of, self.sharp, 1 - self.sharp)

"""LWS: learnable weight scaling on a frozen classifier.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, section 4.4: after plain training only one factor a class is trained, s_j in
s_j * (w_j f + b_j), with class-balanced sampling (`Decoupled`).
Deviation: s_j = exp(a_j) with a_j trained from 0, so that no factor turns negative; the length of stage 2 as in crt.
"""

from collections.abc import Mapping

from ltbench import Decoupled, Figure


class Lws(Decoupled):
    """Plain training, then one factor a class is learned on class-balanced batches."""

    after = "ce"
    classifier = "scaled"
    published = (
        Figure("cifar10", "100", 72.63, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "50", 78.66, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "100", 40.16, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "50", 45.21, "BagofTricks-LT gallery", "F1", "A"),
    )

    def retrains(self) -> Mapping[str, float]:
        return {"heads.*.log_scale": 1.0}

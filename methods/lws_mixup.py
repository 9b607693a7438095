"""LWS over mixup features.

Zhong, Cui, Liu, Jia: Improving Calibration for Long-Tailed Recognition, CVPR 2021, arXiv 2104.00466, section 3.2: stage
1 is trained with mixup (`mixup`, shared with it), stage 2 as in lws: one factor a class on class-balanced batches, no
mixup.
Deviation: as in lws. The published figures of this pair use learning-rate steps of 0.1 instead of 0.01.
"""

from collections.abc import Mapping

from ltbench import Decoupled, Figure


class LwsMixup(Decoupled):
    """Mixup training, then one factor a class is learned on class-balanced batches."""

    after = "mixup"
    classifier = "scaled"
    published = (
        Figure("cifar10", "100", 76.3, "MiSLAS", "F1", "A"),
        Figure("cifar10", "50", 82.6, "MiSLAS", "F1", "A"),
        Figure("cifar10", "10", 89.6, "MiSLAS", "F1", "A"),
        Figure("cifar100", "100", 44.2, "MiSLAS", "F1", "A"),
        Figure("cifar100", "50", 50.7, "MiSLAS", "F1", "A"),
        Figure("cifar100", "10", 62.3, "MiSLAS", "F1", "A"),
    )

    def retrains(self) -> Mapping[str, float]:
        return {"heads.*.log_scale": 1.0}

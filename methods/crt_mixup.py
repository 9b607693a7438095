"""cRT over mixup features.

Zhong, Cui, Liu, Jia: Improving Calibration for Long-Tailed Recognition, CVPR 2021, arXiv 2104.00466, section 3.2: stage
1 is trained with mixup (`mixup`, shared with it), stage 2 as in crt: a new classifier on class-balanced batches, no
mixup.
Deviation: as in crt. The published figures of this pair use learning-rate steps of 0.1 instead of 0.01.
"""

from ltbench import Decoupled, Figure


class CrtMixup(Decoupled):
    """Features of mixup training, then a new classifier trained on class-balanced batches."""

    after = "mixup"
    published = (
        Figure("cifar10", "100", 79.1, "MiSLAS", "F1", "A"),
        Figure("cifar10", "50", 84.2, "MiSLAS", "F1", "A"),
        Figure("cifar10", "10", 89.8, "MiSLAS", "F1", "A"),
        Figure("cifar100", "100", 45.1, "MiSLAS", "F1", "A"),
        Figure("cifar100", "50", 50.9, "MiSLAS", "F1", "A"),
        Figure("cifar100", "10", 62.1, "MiSLAS", "F1", "A"),
    )

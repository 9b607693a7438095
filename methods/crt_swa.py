"""cRT on features trained with SWA.

Nam, Jang, Lee: Decoupled Training for Long-Tailed Classification With Stochastic Representations, ICLR 2023, arXiv
2304.09426: stochastic weight averaging gives features that generalise better; stage 1 is that of `swa`, shared with it.
Stage 2 is that of `crt`: a new classifier on class-balanced batches.
Deviation: none of the paper's own classifier, which is trained on features of random weights around the mean (SWAG) by
self-distillation; as in `crt`.
"""

from ltbench import Decoupled


class CrtSwa(Decoupled):
    """Averaged weights, then a new classifier on frozen features, trained with class-balanced batches."""

    after = "swa"

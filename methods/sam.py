"""SAM: sharpness-aware minimisation, on the losses of the field.

Foret, Kleiner, Mobahi, Neyshabur: Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021,
arXiv 2010.01412, equation 2, for long tails as in Rangwani, Aithal, Mishra, Babu: Escaping Saddle Points for Effective
Generalization on Class-Imbalanced Data, NeurIPS 2022, arXiv 2212.13827: the gradient of a step is that at w + rho g /
|g|, where g is the gradient at w. ``base`` is the loss; LDAM and DRW are those of `ldam_drw` and `ce_drw`.
Deviation: none from the authors' code, in which both passes update batch-norm statistics.
"""

from ltbench import Published, SharpnessAware


class Sam(SharpnessAware):
    """The gradient at the highest loss near the weights, on LDAM or cross-entropy, with deferred re-weighting."""

    published = Published.table(
        source="Saddle (LDAM-DRW + SAM)",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"base": "ldam+drw", "rho": 0.8},
        accuracies={"cifar10": {100: 81.9}, "cifar100": {100: 45.4}},
    ) + Published.table(
        source="Saddle (CE-DRW + SAM)",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"base": "ce+drw"},
        settings_of={"cifar10": {100: {"rho": 0.5}}, "cifar100": {100: {"rho": 0.8}}},
        accuracies={"cifar10": {100: 80.6}, "cifar100": {100: 44.6}},
    )

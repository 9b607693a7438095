"""CMO: context-rich minority over-sampling.

Park, Hong, Heo, Yun, Choi: The Majority Can Help the Minority, CVPR 2022, arXiv 2112.00412: with a given probability,
CutMix pastes a patch of an image from a second loader into an ordinary image; the labels are mixed by area. The second
loader draws images with weight n_j ** -weight_exponent; exponent 1 gives balanced classes. No CutMix in the first and
last 3 of 200 epochs.
Deviation: these epochs are a fraction of the training. `PastedMinority` has the formula.
"""

from ltbench import PastedMinority, Published


class Cmo(PastedMinority):
    """CutMix that pastes patches of mostly rare classes into ordinary images, with cross-entropy."""

    published = Published.table(
        source="CMO (copy in H2T)",
        family="F1",
        grade="B",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.classifier_init": "ldam"},
        accuracies={"cifar100": {100: 43.9, 50: 48.3}},
    )

"""Cross-entropy with deferred re-sampling (DRS).

Cao, Wei, Gaidon, Arechiga, Ma: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
arXiv 1906.07413, section 3.3: ordinary shuffling first, class-balanced batches from the first learning-rate decay on.
Deviation: classes are drawn uniformly, as in the paper; the authors' code draws them by their effective number.
"""

from collections.abc import Sequence

from ltbench import Method, Published, Range, Stage, class_balanced, deferred


class CrossEntropyDrs(Method):
    """Cross-entropy, with class-balanced batches late in training."""

    defer_at = Range(0.8, 0.7, 0.95)  # progress of training from which batches are balanced
    published = Published.table(
        source="Cao19 tables 2 and 5",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.classifier_init": "ldam", "defer_at": 0.8, "sampler": "effective number"},
        accuracies={"cifar10": {100: 74.5, 10: 86.72}, "cifar100": {100: 40.33, 10: 57.26}},
    ) + Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.nesterov": True, "defer_at": 0.8},
        accuracies={"cifar10": {100: 75.07, 50: 80.73}, "cifar100": {100: 40.64, 50: 45.42}},
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage(streams={"main": deferred(class_balanced, self.defer_at)}),)

"""Cross-entropy with deferred re-sampling (DRS).

Cao, Wei, Gaidon, Arechiga, Ma: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
arXiv 1906.07413, section 3.3: ordinary shuffling first, class-balanced batches from the first learning-rate decay on.
Deviation: a class is drawn uniformly (as in the paper); the authors' code weights it by its effective number.
"""

from collections.abc import Sequence

from ltbench import Figure, Method, Range, Stage, class_balanced, deferred


class CrossEntropyDrs(Method):
    """Cross-entropy, on class-balanced batches late in training."""

    defer_at = Range(0.8, 0.7, 0.95)  # fraction of the training after which batches are balanced
    published = (
        Figure("cifar10", "100", 74.50, "Cao19 table 2", "F1", "A"),
        Figure("cifar10", "50", 80.73, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "10", 86.72, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "100", 40.33, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "50", 45.42, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "10", 57.26, "Cao19 table 2", "F1", "A"),
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage(streams={"main": deferred(class_balanced, self.defer_at)}),)

"""Cross-entropy on ordinarily shuffled batches ("ERM", "joint training").

The baseline of every table: loss = -log softmax(z)_y. Deviation: none.
"""

from ltbench import Method, Published


class CrossEntropy(Method):
    """Plain cross-entropy, the baseline."""

    published = Published.table(
        source="Cao19 table 2",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.classifier_init": "ldam"},
        accuracies={"cifar10": {100: 70.36, 10: 86.39}, "cifar100": {100: 38.32, 10: 55.7}},
    ) + Published.table(
        source="BagofTricks-LT gallery, own run",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        accuracies={"cifar10": {50: 76.45}, "cifar100": {50: 43.78}},
    )

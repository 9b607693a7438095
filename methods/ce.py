"""Cross-entropy on ordinarily shuffled batches ("ERM", "joint training").

The baseline of every table: loss = -log softmax(z)_y. Deviation: none.
"""

from ltbench import Figure, Method


class CrossEntropy(Method):
    """Plain cross-entropy, the baseline."""

    published = (
        Figure("cifar10", "100", 70.36, "Cao19 table 2", "F1", "A"),
        Figure("cifar10", "10", 86.39, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "100", 38.32, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "10", 55.70, "Cao19 table 2", "F1", "A"),
    )

"""Base class of methods that train a classifier on the frozen features of another method."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from ltbench.method.contract import Method, Stage
from ltbench.method.hyperparameters import Choice, Range
from ltbench.method.samplers import Stream, class_balanced


class Decoupled(Method):
    """Freeze the backbone of a trained method, then train a classifier on class-balanced batches.

    Kang et al., ICLR 2020 (arXiv 1910.09217), section 4. A subclass names the method that trains the features in
    ``after`` and the kind of classifier in ``classifier``; ``retrains`` may choose some of its parameters.

    Hyper-parameters: ``epochs``, the length of the stage as a fraction of the recipe's epochs; ``lr`` and
    ``weight_decay``; ``batch_norm``, whether the running statistics are updated (train) or frozen (eval).
    """

    streams: ClassVar[Mapping[str, Stream]] = {"main": class_balanced}
    epochs = Range(0.15, 0.05, 0.3)
    lr = Range(0.1, 1e-3, 0.5, log=True)
    weight_decay = Range(5e-4, 0.0, 5e-3)
    batch_norm = Choice[Literal["train", "eval"]]("train", ("train", "eval"))
    cost = 1.05  # 15 % more epochs, without a backward pass through the backbone

    def retrains(self) -> Mapping[str, float] | None:
        """Return patterns of the parameters to train further, each with a factor on the learning rate.

        None: train all parameters of a new classifier.
        """
        return None

    def stages(self) -> Sequence[Stage]:
        """Return the classifier's stage."""
        patterns = self.retrains()
        return (
            Stage(
                "classifier",
                trains="heads" if patterns is None else patterns,
                new_heads=patterns is None,
                epochs=self.epochs,
                lr=self.lr,
                weight_decay=self.weight_decay,
                schedule="cosine",
                batch_norm=self.batch_norm,
            ),
        )

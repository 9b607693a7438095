"""What methods share that train the classifier again, on features that another method has learned."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from ltbench.method.contract import Choice, Method, Range, Stage
from ltbench.method.samplers import Stream, class_balanced


class Decoupled(Method):
    """Base: after the training of another method its backbone is frozen and a classifier trained on balanced batches.

    Kang et al., ICLR 2020 (arXiv 1910.09217), section 4. Say in ``after`` whose features, in ``classifier`` which
    kind, and in ``retrains`` which of its parameters (None: a new classifier, all of it).
    """

    streams: ClassVar[Mapping[str, Stream]] = {"main": class_balanced}
    epochs = Range(0.15, 0.05, 0.3)  # of the recipe's epochs
    lr = Range(0.1, 1e-3, 0.5, log=True)
    weight_decay = Range(5e-4, 0.0, 5e-3)
    batch_norm = Choice[Literal["train", "eval"]]("train", ("train", "eval"))  # statistics move, or stay
    cost = 1.05  # 15 % more epochs, forward only below the classifier

    def retrains(self) -> Mapping[str, float] | None:
        """Patterns of the parameters that go on from the first stage, each with a factor on the learning rate."""
        return None

    def stages(self) -> Sequence[Stage]:
        """The second stage."""
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

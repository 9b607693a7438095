"""The contract of a method: what a file in ``methods/`` may say, with a plain answer to everything.

A method is a class in a file of its own; the file's stem is its name. It says only what is different about it::

    class Focal(Method):
        \"\"\"Cross-entropy that counts easy examples less.\"\"\"

        gamma = Range(1.0, 0.25, 3.0)

        def loss(self, net, batch, clock):
            return focal_loss(net(batch.images), batch.labels, self.gamma)

Without ``loss`` it is cross-entropy, without ``streams`` ordinary shuffling, without ``after`` it begins from a fresh
network, without ``stages`` it trains once for the recipe's epochs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, overload

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ltbench.errors import InputError, unknown
from ltbench.method.samplers import Stream, instance_balanced
from ltbench.models.classifiers import CLASSIFIERS, Classifier
from ltbench.models.network import Network

T = TypeVar("T")
Number = TypeVar("Number", bound=float)


class Hyperparameter(Generic[T]):
    """A class attribute of a method: on the class itself it is this description, on a method its value."""

    name: str

    def __init__(self, default: T) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, method: None, owner: type) -> "Hyperparameter[T]": ...
    @overload
    def __get__(self, method: "Method", owner: type) -> T: ...
    def __get__(self, method: "Method | None", owner: type) -> "Hyperparameter[T] | T":
        if method is None:
            return self
        value: T = method.hyperparameters[self.name]
        return value

    def check(self, value: Any) -> T:
        """``value`` as this hyper-parameter takes it; raises ValueError with what is allowed."""
        raise NotImplementedError


class Range(Hyperparameter[Number]):
    """A number with its default and the range in which it is searched (on a log scale where ``log``).

    The range bounds the search, not the user: any finite number of the same type may be set.
    """

    def __init__(self, default: Number, low: Number, high: Number, *, log: bool = False) -> None:
        super().__init__(default)
        if not low <= default <= high or (log and low <= 0):
            raise ValueError(f"the default {default} must lie in [{low}, {high}], and low above 0 on a log scale")
        self.low: Number = low
        self.high: Number = high
        self.log = log

    def check(self, value: Any) -> Number:  # noqa: D102
        kind = type(self.default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"a number is wanted (searched in [{self.low}, {self.high}])")
        if kind is int and value != int(value):
            raise ValueError("a whole number is wanted")
        return kind(value)


class Choice(Hyperparameter[T]):
    """One of a few values, with its default.

    Tuning tries all of them unless ``searched`` is False, as where a value needs validation images in the final run.
    """

    def __init__(self, default: T, options: Sequence[T], *, searched: bool = True) -> None:
        super().__init__(default)
        self.options = tuple(options)
        self.searched = searched
        if default not in self.options:
            raise ValueError(f"the default {default!r} must be one of {self.options}")

    def check(self, value: Any) -> T:  # noqa: D102
        if value not in self.options:
            raise ValueError(f"one of {', '.join(map(str, self.options))} is wanted")
        found: T = value
        return found


@dataclass(frozen=True)
class Figure:
    """A published accuracy, in percent on the balanced test set.

    Attributes:
        dataset, imbalance: where it was obtained, as suites write them (``"cifar100"``, ``"100"``).
        accuracy: top-1, in percent.
        source: paper and table.
        family: recipe family; only figures of one family may be compared (F1: crop and flip, 200 epochs, weight decay
            1e-4 to 2e-4, ResNet-32).
        grade: A, read in the paper or its repository; B, read in another paper's table.
        backbone: network.
        groups: accuracy of the many-, medium- and few-shot classes, where the source gives it.
    """

    dataset: str
    imbalance: str
    accuracy: float
    source: str
    family: str
    grade: Literal["A", "B"]
    backbone: str = "resnet32_cifar"
    groups: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Stage:
    """One phase of training. The optimiser starts afresh; the backbone goes on from the stage before.

    Attributes:
        name: for curves and messages.
        trains: ``all`` parameters, the ``heads`` only, or patterns of parameter names (``heads.main.*``), each with a
            factor on the learning rate; what fits none is frozen.
        new_heads: draw the heads anew instead of going on with those of the stage before.
        streams: in place of the method's, where they depend on its hyper-parameters or differ between its stages.
        epochs: length, as a fraction of the recipe's epochs (at least one epoch); 0: no training, for a post-hoc step.
        lr, weight_decay, schedule: in place of the recipe's.
        batch_norm: ``train`` normalises by the batch and moves the running statistics; ``eval`` freezes them.
        loss: name of the method's function that gives the loss of this stage.
        project: name of a function of the method, called with the network after every step, that puts parameters back
            where they are allowed to be. It is part of a captured step (see ``Method.loss``).
        finish: name of a function of the method, called with the network and `Features` when training is over: a
            post-hoc step. It may change whatever the network holds.
    """

    name: str = "train"
    trains: Literal["all", "heads"] | Mapping[str, float] = "all"
    new_heads: bool = False
    streams: Mapping[str, Stream] | None = None
    epochs: float = 1.0
    lr: float | None = None
    weight_decay: float | None = None
    schedule: Literal["step", "cosine"] | None = None
    batch_norm: Literal["train", "eval"] = "train"
    loss: str = "loss"
    project: str = ""
    finish: str = ""


class Features(Protocol):
    """What a post-hoc step may look at: the features of un-augmented images. The test split cannot be asked for."""

    def __call__(self, split: Literal["train", "val"]) -> tuple[Tensor, Tensor]:
        """Features [N, D] float32 in evaluation mode, and labels [N].

        Raises:
            InputError: for ``val`` where the run has no validation split.
        """


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step sees. With several streams, their images follow one another in the order of ``streams``.

    Attributes:
        images: [S * B, channels, H, W], augmented and normalised.
        labels: [S * B] int64.
        streams: names of the S streams.
        noise: [K, B] float32, what `Method.noise` drew for these images; the same for all streams.
    """

    images: Tensor
    labels: Tensor
    streams: tuple[str, ...]
    noise: Tensor = field(default_factory=lambda: torch.empty(0, 0))

    def part(self, stream: str, values: Tensor) -> Tensor:
        """The rows of ``values`` [S * B, ...] that belong to a stream: [B, ...]."""
        size = len(self.labels) // len(self.streams)
        start = self.streams.index(stream) * size
        return values[start : start + size]


@dataclass(frozen=True, eq=False)
class Clock:
    """How far a stage has come.

    Attributes:
        progress: 0-dim tensor on the training device: epochs done / epochs of the stage, so in [0, 1). Compare it with
            ``torch.where``, never with ``if``: a step may be captured once and replayed.
    """

    progress: Tensor


class Method:
    """Base class of all methods, and by itself plain cross-entropy.

    Class attributes to override:
        classifier: ``linear``, ``cosine`` (cosines without scale) or ``scaled`` (linear, then a factor for each class).
        heads: names of the heads on the backbone's features; the first one predicts.
        branches: copies of the backbone's last stage, each with weights of its own (experts); see `Network`.
        streams: sampler of each stream of batches.
        after: name of the method whose trained network this one begins with. It is trained once per data set, recipe
            and seed, and shared.
        corrects: in a few words, how the loss or a post-hoc step corrects the class prior ("log prior in the logits");
            empty where it does not. With a sampler that balances, or after a method that corrects, that is twice.
        double_correction: it is meant to correct twice. Without it such a method is refused.
        cost: forward-backward passes per image relative to ``ce``.
        eager_only: why a step cannot be captured in a CUDA graph; empty where it can (see ``loss``).
        published: figures of the literature.
    """

    name: ClassVar[str] = ""
    classifier: ClassVar[Classifier] = "linear"
    heads: ClassVar[tuple[str, ...]] = ("main",)
    branches: ClassVar[int] = 1
    streams: ClassVar[Mapping[str, Stream]] = {"main": instance_balanced}
    after: ClassVar[str | None] = None
    corrects: ClassVar[str] = ""
    double_correction: ClassVar[bool] = False
    cost: ClassVar[float] = 1.0
    eager_only: ClassVar[str] = ""
    published: ClassVar[Sequence[Figure]] = ()

    def __init__(self, **hyperparameters: Any) -> None:
        """A method with these hyper-parameters, the others at their defaults.

        Raises:
            InputError: for one that does not exist or a value that is not allowed.
        """
        space = self.space()
        values = {name: parameter.default for name, parameter in space.items()}
        for name, value in hyperparameters.items():
            if name not in space:
                raise unknown(f"hyper-parameter of {self.name}", name, space, "" if space else "it has none")
            try:
                values[name] = space[name].check(value)
            except ValueError as error:
                raise InputError(f"{self.name}.{name}={value}: {error}") from error
        self.hyperparameters: dict[str, Any] = values

    @classmethod
    def space(cls) -> dict[str, Hyperparameter[Any]]:
        """The hyper-parameters, by name."""
        found = {k: v for c in reversed(cls.__mro__) for k, v in vars(c).items()}
        return {k: v for k, v in found.items() if isinstance(v, Hyperparameter)}

    def stages(self) -> Sequence[Stage]:
        """The phases of training, after those of ``after``."""
        return (Stage(),)

    def streams_of(self, stage: Stage) -> Mapping[str, Stream]:
        """The streams of one of its stages."""
        return self.streams if stage.streams is None else stage.streams

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        """A new head: features [B, D = width] -> logits [B, C = classes]."""
        return CLASSIFIERS[self.classifier](width, classes)

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """Random numbers [K, draws] for the images of an epoch, as mixing needs them; `Batch.noise` has them.

        What a loss needs of randomness is drawn here, on the host and beforehand: so it repeats on every device.
        """
        return np.empty((0, draws))

    def setup(self, counts: Tensor) -> None:
        """Prepare what depends on the class counts [C] (float64, on the training device)."""

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """The loss of one step, a 0-dim tensor.

        A step may be captured once and replayed, so everything here must stay on the device: no ``if`` on a tensor, no
        ``.item()``, no tensor made from host values in the step (make it in ``setup``). What changes during training
        is a tensor that keeps its place; a switch is ``torch.where(clock.progress >= 0.8, late, early)``. A method
        that cannot keep to this says why in ``eager_only``.

        Args:
            net: the network in training.
            batch: images and labels of all streams.
            clock: how far the stage has come.
        """
        return F.cross_entropy(net(batch.images), batch.labels)

    def predict(self, net: Network, images: Tensor) -> Tensor:
        """Logits [B, C] for images [B, channels, H, W]; their softmax is what calibration is measured on."""
        logits: Tensor = net(images)
        return logits

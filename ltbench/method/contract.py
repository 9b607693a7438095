"""The method contract: what a file in ``methods/`` may define, with a default for everything.

A method is a class in a file of its own, named like the method. It defines only what differs from cross-entropy::

    class Focal(Method):
        \"\"\"Cross-entropy that gives well-classified examples less weight.\"\"\"

        gamma = Range(1.0, 0.25, 3.0)

        def loss(self, net, batch, clock):
            return focal_loss(net(batch.images), batch.labels, self.gamma)

When each hook runs, in pseudocode::

    for stage in method.stages():               # after those of the method named in ``after``
        rebuild(backbone, classes)              # change the new backbone, if the method needs another one
        build_head(name, width, classes)        # for each head; then the weights of the previous stage are loaded
        build_memory(net, counts)               # what the stage remembers beside its network: ``net.memory``
        setup(counts)
        for epoch in stage:
            stage.strengths(net, trial)         # if there is one: how strongly each class is augmented
            stage.before_epoch(net, features, labels)  # if there is one
            noise(draws, generator)
            for batch in epoch:
                loss(net, batch, clock)         # or stage.loss, later stage.late_loss; then the backward pass, or all
                                                # of ``stage.gradient``
                                                # then the optimiser's step
                stage.project(net)              # if there is one; or after the epoch, see ``project_after``
            predict(net, images)                # every few epochs, on validation and test images
        stage.finish(net, features)             # if there is one: a post-hoc step
        predict(net, images)                    # its logits are the result of the last stage
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ltbench.errors import InputError, unknown
from ltbench.method.hyperparameters import Hyperparameter
from ltbench.method.published import Published
from ltbench.method.samplers import Stream, instance_balanced
from ltbench.models.backbones import Part
from ltbench.models.classifiers import CLASSIFIERS, Classifier
from ltbench.models.network import Network


class Features(Protocol):
    """Features of un-augmented images, for a post-hoc step. Test images are not available."""

    def __call__(self, split: Literal["train", "val"]) -> tuple[Tensor, Tensor]:
        """Compute the features [N, D] (float32, network in evaluation mode) and labels [N] of a split.

        Raises:
            InputError: for ``val`` if the run has no validation split.
        """


@dataclass(frozen=True, eq=False)
class Batch:
    """Images and labels of one step. Those of several streams are concatenated in the order of ``streams``.

    Attributes:
        images: [S * B, channels, H, W], augmented and normalised.
        labels: [S * B] int64.
        streams: names of the S streams.
        noise: [K, B] float32, the numbers from `Method.noise` for these images; the same for all streams.
        index: [S * B] int64, the place of each image in the training set, from 0 to N - 1.
        mean, std: [channels, 1, 1], of the normalisation: images * std + mean are pixels from 0 (black) to 1 (white).
    """

    images: Tensor
    labels: Tensor
    streams: tuple[str, ...]
    noise: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    mean: Tensor = field(default_factory=lambda: torch.zeros(1, 1, 1))
    std: Tensor = field(default_factory=lambda: torch.ones(1, 1, 1))

    def part(self, stream: str, values: Tensor) -> Tensor:
        """Return the rows of ``values`` [S * B, ...] that belong to a stream: [B, ...]."""
        size = len(self.labels) // len(self.streams)
        start = self.streams.index(stream) * size
        return values[start : start + size]


@dataclass(frozen=True, eq=False)
class Clock:
    """Progress of a stage.

    Attributes:
        progress: 0-dim tensor on the training device, finished epochs / epochs of the stage, in [0, 1). Compare it
            with ``torch.where``, never with ``if``: a step may be captured once and replayed.
    """

    progress: Tensor


LossFunction = Callable[[Network, Batch, Clock], Tensor]


class LossOf(Protocol):
    """Computes a loss of the batch of a step, with the weights that the network has at that time."""

    def __call__(self, loss: LossFunction | None = None) -> Tensor:
        """Compute the loss of the stage, or another function of the method, in the precision of the recipe."""


class Trial(Protocol):
    """Tests whether training images are still recognised when they are augmented strongly."""

    def __call__(self, classes: Tensor, strengths: Tensor) -> Tensor:
        """Draw an image of each class, augment it, and compare prediction and class.

        The augmentations are those of the recipe and random operations of the strength. Predictions are those of
        ``Method.predict``, with the network in evaluation mode.

        Args:
            classes: [N] int64.
            strengths: [N] int64, from 0 to 10.

        Returns:
            [N] bool, whether the prediction is right.
        """


@dataclass(frozen=True)
class Stage:
    """One phase of training. It has a new optimiser; the network continues from the previous stage.

    Attributes:
        name: shown in curves and messages.
        trains: ``all`` parameters, the ``heads`` only, or patterns of parameter names (``heads.main.*``), each with a
            factor on the learning rate; parameters that match no pattern are frozen.
        new_heads: initialise the heads again instead of continuing with those of the previous stage.
        new_network: start with a new network. ``build_memory`` still gets that of the previous stage, as a teacher.
        streams: replaces the method's streams, where they depend on hyper-parameters or differ between stages.
        epochs: length as a fraction of the recipe's epochs (at least one epoch); 0: no training, for a post-hoc step.
        lr, weight_decay, schedule: replace those of the recipe; ``constant`` keeps the learning rate.
        batch_norm: ``train`` normalises by the batch and updates the running statistics; ``eval`` freezes them.
        loss: the method's function for the loss of this stage, such as ``self.plain_loss``; None: ``Method.loss``.
        late_loss: another loss from the progress ``late_from`` on, at least in the last epoch. A step is then captured
            again, so earlier epochs do not pay for it. Switch a loss that costs little with ``torch.where``.
        gradient: a function that replaces the backward pass, where a step needs several. It is called with the network
            and `LossOf`, leaves the gradient of the step in the parameters (which have none at first), leaves their
            values as they were, and returns the loss, 0-dim. It is part of a captured step.
        project: a function that is called with the network after every step and moves parameters back into the allowed
            set. It is part of a captured step (see ``Method.loss``).
        project_after: ``step``, or ``epoch`` to call ``project`` once at the end of every epoch.
        strengths: a function that is called before every epoch, with the network and `Trial` and without gradients. It
            returns the strength of augmentation of each class in the epoch, [C] int64, from 0 to 10. Streams use it
            with a probability of their own, see `Augmented`.
        before_epoch: a function that is called before every epoch without gradients, with the network, the features
            [N, D] of all training images without augmentation (float32, network in evaluation mode) and their labels
            [N]. It changes ``net.memory`` in place.
        average_from: progress of the stage from which the weights after every epoch are averaged, all with the same
            share; None: no average. The average is evaluated, and is the network at the end of the stage. Its
            batch-norm statistics are computed again on an epoch of training images.
        finish: a post-hoc step: a function that is called with the network and `Features` after the last epoch. It may
            change anything in the network.
    """

    name: str = "train"
    trains: Literal["all", "heads"] | Mapping[str, float] = "all"
    new_heads: bool = False
    new_network: bool = False
    streams: Mapping[str, Stream] | None = None
    epochs: float = 1.0
    lr: float | None = None
    weight_decay: float | None = None
    schedule: Literal["step", "cosine", "constant"] | None = None
    batch_norm: Literal["train", "eval"] = "train"
    loss: LossFunction | None = None
    late_loss: LossFunction | None = None
    late_from: float = 0.8
    gradient: Callable[[Network, LossOf], Tensor] | None = None
    project: Callable[[Network], None] | None = None
    project_after: Literal["step", "epoch"] = "step"
    strengths: Callable[[Network, Trial], Tensor] | None = None
    before_epoch: Callable[[Network, Tensor, Tensor], None] | None = None
    average_from: float | None = None
    finish: Callable[[Network, Features], None] | None = None


class Method:
    """Base class of all methods. Without changes it is plain cross-entropy.

    Class attributes to override:
        classifier: ``linear``, ``cosine`` (cosines without scale) or ``scaled`` (linear, then a factor for each class).
        heads: names of the heads on the backbone's features; the first one predicts.
        branches: number of copies of the backbone's last layers, each with its own weights (experts); see `Network`.
        branches_own: the part that is copied: ``whole network``, ``last two stages``, ``last stage`` or ``last block``.
        branches_width: channels of the stages in the copies, relative to the backbone's.
        streams: the sampler of each stream of batches.
        after: name of the method whose trained network this one continues from. That network is trained once per data
            set, recipe and seed, and shared. An entry such as ``crt(after=mixup)`` names another one.
        corrects: how the loss or a post-hoc step corrects the class prior, in a few words ("log prior in the logits");
            empty if it does not. A balancing sampler and the corrections of the method in ``after`` count, too.
        double_correction: allow a second correction of the class prior; otherwise such a method is refused.
        cost: forward-backward passes per image relative to ``ce``.
        eager_only: why a step cannot be captured in a CUDA graph; empty if it can (see ``loss``).
        needs_pixels: why the method cannot train on the features of a frozen backbone ("rotates images"); empty if it
            can.
        published: accuracies from the literature.
    """

    name: ClassVar[str] = ""
    classifier: ClassVar[Classifier] = "linear"
    heads: ClassVar[tuple[str, ...]] = ("main",)
    branches: ClassVar[int] = 1
    branches_own: ClassVar[Part] = "last stage"
    branches_width: ClassVar[float] = 1.0
    streams: ClassVar[Mapping[str, Stream]] = {"main": instance_balanced}
    after: ClassVar[str | None] = None
    corrects: ClassVar[str] = ""
    double_correction: ClassVar[bool] = False
    cost: ClassVar[float] = 1.0
    eager_only: ClassVar[str] = ""
    needs_pixels: ClassVar[str] = ""
    published: ClassVar[Sequence[Published]] = ()

    def __init__(self, **hyperparameters: Any) -> None:
        """Set these hyper-parameters, and the others to their defaults.

        Raises:
            InputError: for an unknown hyper-parameter or a value that is not allowed.
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
        """Return the hyper-parameters by name."""
        found = {k: v for c in reversed(cls.__mro__) for k, v in vars(c).items()}
        return {k: v for k, v in found.items() if isinstance(v, Hyperparameter)}

    def stages(self) -> Sequence[Stage]:
        """Return the phases of training, which come after those of the method in ``after``."""
        return (Stage(),)

    def streams_of(self, stage: Stage) -> Mapping[str, Stream]:
        """Return the streams of a stage."""
        return self.streams if stage.streams is None else stage.streams

    def rebuild(self, backbone: nn.Module, classes: int) -> nn.Module:
        """Change a new backbone: add adapters inside, further layers or further outputs.

        What it adds is a part of the network like any other: trained unless ``Stage.trains`` says otherwise, stored,
        and continued by the next stage. A method in ``after`` that does not change the backbone can be continued if
        its layers keep their names and shapes.

        Args:
            backbone: with its first weights, initialised or pretrained, on the CPU: images [B, channels, H, W] ->
                features [B, D], or a `Branched` one. Torch's generator is seeded.
            classes: number of classes C.

        Returns:
            The same module or another one: images -> features [B, D], or [B, K, D] for K heads, see
            ``Network.experts``.

        Raises:
            InputError: for a backbone that the method cannot change; then it is not trained with it.
        """
        return backbone

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        """Build a head: features [B, D = width] -> logits [B, C = classes]."""
        return CLASSIFIERS[self.classifier](width, classes)

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        """Build what a stage remembers from step to step beside its network; it becomes ``net.memory``.

        A queue, an average of the weights, a value for each image: buffers and parameters of one module, without
        gradients. A step changes them in place. They are in every checkpoint, and freed at the end of the stage, so
        ``predict`` cannot use them; ``Stage.finish`` can.

        Args:
            net: the network before the first step, or with ``Stage.new_network`` that of the previous stage; on the
                CPU.
            counts: [C] float64, the class counts, on the CPU; their sum is the number of training images.
        """
        return nn.Module()

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """Draw K random numbers for each image of an epoch, [K, draws]; `Batch.noise` contains them.

        A loss with random parts, such as mixup, takes its random numbers from here. They are drawn on the CPU before
        the epoch, so that they are the same on every device.
        """
        return np.empty((0, draws))

    def setup(self, counts: Tensor) -> None:
        """Prepare tensors that depend on the class counts [C] (float64, on the training device)."""

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Compute the loss of one step, a 0-dim tensor.

        A step may be captured in a CUDA graph and replayed, so all work must stay on the device: no ``if`` on a tensor,
        no ``.item()``, no tensor created from Python numbers (create it in ``setup``). A value that changes during
        training is a tensor that is changed in place; for a switch use
        ``torch.where(clock.progress >= 0.8, late, early)``. A method that needs more says why in ``eager_only``.

        Args:
            net: the network in training.
            batch: images and labels of all streams.
            clock: progress of the stage.
        """
        return F.cross_entropy(net(batch.images), batch.labels)

    def predict(self, net: Network, images: Tensor) -> Tensor:
        """Compute logits [B, C] for images [B, channels, H, W]. Calibration is measured on their softmax."""
        logits: Tensor = net(images)
        return logits

"""What the auxiliary-learning methods share: a primary task and others that help its features."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.method.contract import Batch, Choice, Clock, Method, Stage
from ltbench.method.samplers import Stream, class_balanced, instance_balanced
from ltbench.models.network import Network


class AuxiliaryLearning(Method):
    """Base: a class-balanced task trains a primary classifier and the features; auxiliary tasks train the features too.

    Zhang, Liu, Wang, Shen, 2019 (arXiv 1912.04486): CE(primary head; stream ``primary``) + ``auxiliary_loss``. The
    primary head predicts. Name the streams and heads (the first of each is ``primary``) and write ``auxiliary_loss``.

    Hyper-parameters of every such method, besides the weights of its tasks: ``samplers`` swapped (the primary task on
    the random stream); ``primary_gradient`` off (the features learn from the auxiliary tasks alone); ``batch_norm``
    separate (each stream is normalised by itself, and the primary one makes the statistics of the test); ``compute``
    equal (fewer epochs, so that as many images are seen as by cross-entropy).
    """

    streams: ClassVar[Mapping[str, Stream]] = {"primary": class_balanced, "auxiliary": instance_balanced}
    samplers = Choice("balanced-primary", ("balanced-primary", "swapped"))
    primary_gradient = Choice("on", ("on", "off"))
    batch_norm = Choice("shared", ("shared", "separate"))
    compute = Choice("added", ("added", "equal"))

    def stages(self) -> Sequence[Stage]:
        """One stage; its length and samplers depend on the hyper-parameters."""
        streams = dict(self.streams)
        if self.samplers == "swapped":
            swap: dict[Stream, Stream] = {class_balanced: instance_balanced, instance_balanced: class_balanced}
            streams = {name: swap.get(sampler, sampler) for name, sampler in streams.items()}
        return (Stage(streams=streams, epochs=1.0 if self.compute == "added" else 1 / len(streams)),)

    def pictures(self, stream: str, images: Tensor) -> Tensor:
        """What a stream's images [B, channels, H, W] are shown as: by default as they are."""
        return images

    def auxiliary_loss(self, net: Network, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The weighted losses of the auxiliary tasks, 0-dim. features: [B, D] of each stream."""
        raise NotImplementedError

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """The primary loss and the auxiliary ones."""
        features = self._features(net, batch)
        primary = features["primary"] if self.primary_gradient == "on" else features["primary"].detach()
        loss = F.cross_entropy(net.heads["primary"](primary), batch.part("primary", batch.labels))
        return loss + self.auxiliary_loss(net, features, batch)

    def _features(self, net: Network, batch: Batch) -> dict[str, Tensor]:
        shown = {name: self.pictures(name, batch.part(name, batch.images)) for name in batch.streams}
        if self.batch_norm == "shared":
            together = net.features(torch.cat(list(shown.values())))
            return {name: batch.part(name, together) for name in batch.streams}
        features = {"primary": net.features(shown.pop("primary"))}
        with net.batch_norm_untracked():
            return features | {name: net.features(images) for name, images in shown.items()}

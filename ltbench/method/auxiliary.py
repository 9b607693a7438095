"""Base class of auxiliary learning: a primary task, and auxiliary tasks that train the same features."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.method.contract import Batch, Clock, Method, Stage
from ltbench.method.hyperparameters import Choice
from ltbench.method.samplers import Stream, class_balanced, instance_balanced
from ltbench.models.network import Network


class AuxiliaryLearning(Method):
    """Train classifier and features with a class-balanced primary task, and the features with auxiliary tasks too.

    Zhang, Liu, Wang, Shen, 2019 (arXiv 1912.04486): the loss is CE(primary head; stream ``primary``) plus
    ``auxiliary_loss``. The primary head predicts. A subclass names its streams and heads, ``primary`` first, and
    defines ``auxiliary_loss``.

    Hyper-parameters of all these methods, besides the weights of the tasks:
        samplers: ``swapped`` gives the primary task the ordinarily shuffled stream, and the auxiliary task the
            class-balanced one.
        primary_gradient: ``off`` trains the features with the auxiliary tasks only.
        batch_norm: ``separate`` normalises each stream with its own batch statistics. Only the primary stream updates
            the running statistics, which are used at test time.
        compute: ``equal`` trains for fewer epochs, so that as many images are processed as with cross-entropy.
    """

    streams: ClassVar[Mapping[str, Stream]] = {"primary": class_balanced, "auxiliary": instance_balanced}
    samplers = Choice("balanced-primary", ("balanced-primary", "swapped"))
    primary_gradient = Choice("on", ("on", "off"))
    batch_norm = Choice("shared", ("shared", "separate"))
    compute = Choice("added", ("added", "equal"))

    def stages(self) -> Sequence[Stage]:
        """Return one stage; its length and samplers depend on the hyper-parameters."""
        streams = dict(self.streams)
        if self.samplers == "swapped":
            swap: dict[Stream, Stream] = {class_balanced: instance_balanced, instance_balanced: class_balanced}
            streams = {name: swap.get(sampler, sampler) for name, sampler in streams.items()}
        return (Stage(streams=streams, epochs=1.0 if self.compute == "added" else 1 / len(streams)),)

    def pictures(self, stream: str, images: Tensor) -> Tensor:
        """Transform the images [B, channels, H, W] of a stream; by default they are not changed."""
        return images

    def auxiliary_loss(self, net: Network, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Compute the weighted sum of the auxiliary losses, 0-dim. features: [B, D] of each stream."""
        raise NotImplementedError

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Compute the primary loss plus the auxiliary losses."""
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

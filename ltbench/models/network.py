"""The network of a run: one backbone, one or more heads on its features."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ltbench.engine.process import seeded
from ltbench.errors import InputError
from ltbench.models.backbones import build_backbone
from ltbench.models.classifiers import CLASSIFIERS

Classifier = Literal["linear", "cosine"]


class Network(nn.Module):
    """A backbone with named heads. Called on images it gives the logits of its first head.

    Args:
        backbone: images [B, channels, H, W] -> features [B, D].
        width: D.
        heads: names of the heads; the first one predicts.
        classes: C.
        classifier: kind of every head.
        seeds: one seed for each head's initialisation.
    """

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        heads: Sequence[str],
        classes: int,
        classifier: Classifier,
        seeds: Iterable[int],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict()
        for head, seed in zip(heads, seeds, strict=True):
            with seeded(seed):
                self.heads[head] = CLASSIFIERS[classifier](width, classes)
        self.first = heads[0]

    def features(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] -> features [B, D]."""
        features: Tensor = self.backbone(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] -> logits [B, C] of the first head."""
        logits: Tensor = self.heads[self.first](self.features(images))
        return logits


def initialised_backbone(name: str, channels: int, size: tuple[int, int], seed: int) -> tuple[nn.Module, int]:
    """A backbone initialised from ``seed``, and the width D of its features.

    Raises:
        InputError: when the model does not take images of this size.
    """
    with seeded(seed):
        backbone = build_backbone(name, channels, size)
        try:
            with torch.no_grad():
                features = backbone.eval()(torch.zeros(2, channels, *size))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"backbone '{name}' does not take images of {size[0]}x{size[1]} pixels ({reason}); "
                "set recipe.image_size or another recipe.backbone"
            ) from error
    if features.ndim != 2:
        raise InputError(f"backbone '{name}' gives features of shape {tuple(features.shape)}, not [B, D]")
    for module in backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None:
            module.num_batches_tracked = None  # a counter that nothing reads: one small kernel a layer and step
    return backbone, features.shape[1]

"""Backbones by name: all models of timm, and the CIFAR residual networks, which are registered there."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from torch import nn

from ltbench.errors import InputError, unknown
from ltbench.models.cifar_resnet import CIFAR_RESNETS, CifarResNet
from ltbench.models.pretrained import pretrained_backbone

FEATURES = "features"
"""In place of a backbone's name: the images are features already."""


def _timm() -> Any:
    """Import timm, which takes seconds, and register the CIFAR residual networks with it."""
    import timm
    from timm.models import register_model

    if not timm.is_model("resnet32_cifar"):
        for create in CIFAR_RESNETS.values():
            register_model(create)
    return timm


def backbone_names() -> list[str]:
    """List all names that ``build_backbone`` accepts."""
    return sorted({*CIFAR_RESNETS, *_timm().list_models()})


def check_backbone(name: str) -> None:
    """Check that a backbone exists.

    Raises:
        InputError: for an unknown name, with the most similar one.
    """
    if name not in CIFAR_RESNETS and not _timm().is_model(name):
        raise unknown("backbone", name, backbone_names(), "list them with ltbench ls backbones")


def build_backbone(name: str, channels: int, size: tuple[int, int], weights: Path | None = None) -> nn.Module:
    """Build a backbone without a head: images [B, channels, H, W] -> features [B, D].

    Args:
        name: one of ``backbone_names()``, or ``FEATURES``: images [B, D, 1, 1] -> features [B, D].
        channels: number of image channels, 1 or 3.
        size: H, W of an image.
        weights: file of pretrained weights; None: newly initialised.

    Raises:
        InputError: for an unknown name, and for weights that do not fit.
    """
    if name == FEATURES:
        return nn.Flatten()
    if name in CIFAR_RESNETS and weights is None:
        model: nn.Module = CIFAR_RESNETS[name](in_chans=channels)
        return model
    check_backbone(name)

    def build(**options: Any) -> nn.Module:
        if weights is not None:
            return pretrained_backbone(name, channels, options, weights)
        new: nn.Module = _timm().create_model(name, num_classes=0, in_chans=channels, **options)
        return new

    try:
        return build(img_size=size)
    except TypeError:  # most convolutional models accept any size, and no argument img_size
        return build()


def split_backbone(model: nn.Module, name: str) -> tuple[nn.Module, nn.Module]:
    """Split a residual network into the stages before the last one, and the last stage with pooling.

    Images [B, channels, H, W] -> [B, channels', H', W'] -> features [B, D]. Both parts share the modules of ``model``.

    Raises:
        InputError: for a backbone that is not a residual network.
    """
    if name == FEATURES:
        return nn.Identity(), nn.Flatten()
    if isinstance(model, CifarResNet):
        return model.split()
    if not all(hasattr(model, part) for part in ("conv1", "bn1", "act1", "maxpool", "layer4", "global_pool")):
        raise InputError(
            f"backbone '{name}' cannot be split into branches; methods with several experts need a residual network "
            "(resnet32_cifar, resnet50, resnext50_32x4d, ...)"
        )
    before = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3")
    trunk = nn.Sequential(OrderedDict((part, model.get_submodule(part)) for part in before))
    tail = nn.Sequential(OrderedDict((part, model.get_submodule(part)) for part in ("layer4", "global_pool")))
    return trunk, tail

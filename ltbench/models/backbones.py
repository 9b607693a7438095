"""Backbones by name: all models of timm, and the CIFAR residual networks, which are registered there."""

from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal, get_args

from torch import nn

from ltbench.errors import InputError, unknown
from ltbench.models.cifar_resnet import CIFAR_RESNETS, CifarResNet
from ltbench.models.pretrained import pretrained_backbone

FEATURES = "features"
"""In place of a backbone's name: the images are features already."""

Part = Literal["whole network", "last two stages", "last stage", "last block"]
"""The part of a network of which every branch has a copy of its own; only residual networks can be split."""


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


def build_backbone(
    name: str,
    channels: int,
    size: tuple[int, int],
    own: Part = "last stage",
    width: float = 1.0,
    weights: Path | None = None,
) -> nn.Module:
    """Build a backbone without a head: images [B, channels, H, W] -> features [B, D].

    Args:
        name: one of ``backbone_names()``, or ``FEATURES``: images [B, D, 1, 1] -> features [B, D].
        channels: number of image channels, 1 or 3.
        size: H, W of an image.
        own, width: the stages of this part have ``width`` times as many channels as usual. Only residual networks can
            be built with another ``width`` than 1.
        weights: file of pretrained weights, of a backbone with the usual ``width``; None: newly initialised.

    Raises:
        InputError: for an unknown name, for a backbone or a part that cannot be narrower, and for weights that do not
            fit.
    """
    if name == FEATURES:
        return nn.Flatten()
    factors = _factors(own, width)
    if name in CIFAR_RESNETS and weights is None:
        model: nn.Module = CIFAR_RESNETS[name](in_chans=channels, factors=factors)
        return model
    check_backbone(name)
    options: dict[str, Any] = (
        {} if width == 1 else {"channels": (64, 128, round(256 * factors[0]), round(512 * factors[1]))}
    )

    def build(**further: Any) -> nn.Module:
        if weights is not None:
            return pretrained_backbone(name, channels, further, weights)
        new: nn.Module = _timm().create_model(name, num_classes=0, in_chans=channels, **further)
        return new

    try:
        return build(**options, img_size=size)
    except TypeError:  # most convolutional models accept any size, and no argument img_size
        try:
            return build(**options)
        except TypeError as error:
            if width == 1:
                raise
            raise InputError(
                f"backbone '{name}' cannot be built with narrower branches; set recipe.backbone to a residual network "
                "(resnet32_cifar, resnet50, resnext50_32x4d, ...)"
            ) from error


def _factors(own: Part, width: float) -> tuple[float, float]:
    """Factors of the channels of the last stage but one and of the last stage."""
    if own in ("last block", "whole network") and width != 1:
        raise InputError(f"a branch that owns the {own} cannot be narrower; set branches_width = 1.0")
    return {"last two stages": (width, width), "last stage": (1.0, width)}.get(own, (1.0, 1.0))


def split_backbone(model: nn.Module, name: str, own: Part) -> tuple[nn.Module, nn.Module]:
    """Split a network into the layers that branches share, and the part that each branch owns, with pooling.

    Images [B, channels, H, W] -> [B, channels', H', W'] -> features [B, D]. Both parts share the modules of ``model``.

    Raises:
        InputError: for a backbone that is not a residual network, and for an unknown part.
    """
    if own not in get_args(Part):
        raise unknown("part of a backbone", own, get_args(Part))
    if name == FEATURES:
        return nn.Identity(), nn.Flatten()
    if own == "whole network":
        return nn.Identity(), model
    if isinstance(model, CifarResNet):
        stage = len(model.layers) // 3
        return model.split({"last two stages": 2 * stage, "last stage": stage, "last block": 1}[own])
    if not all(hasattr(model, part) for part in ("conv1", "bn1", "act1", "maxpool", "layer4", "global_pool")):
        raise InputError(
            f"backbone '{name}' cannot be split into branches; methods with several experts need a residual network "
            "(resnet32_cifar, resnet50, resnext50_32x4d, ...)"
        )
    names = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4", "global_pool")
    parts = [(part, model.get_submodule(part)) for part in names]
    *before, (_, layer4), pool = parts
    if own == "last block":
        assert isinstance(layer4, nn.Sequential)
        before, after = [*before, ("layer4", layer4[:-1])], [("layer4", layer4[-1:]), pool]
    else:
        start = 6 if own == "last two stages" else 7
        before, after = parts[:start], parts[start:]
    return nn.Sequential(OrderedDict(before)), nn.Sequential(OrderedDict(after))

"""The layers of a backbone, counted from its input, as timm groups them for layer-wise learning rates."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ltbench.models.cifar_resnet import CifarResNet


def layer_depths(model: nn.Module) -> Mapping[str, int]:
    """The layer of each parameter, by name: 0 for the stem, then one number for each block.

    A backbone without groups of its own counts as one layer.
    """
    names = [name for name, _ in model.named_parameters()]
    if isinstance(model, CifarResNet):
        return {name: int(name.split(".")[1]) + 1 if name.startswith("layers.") else 0 for name in names}
    matcher: Any = getattr(model, "group_matcher", None)
    if matcher is None:
        return dict.fromkeys(names, 0)
    from timm.models import group_parameters

    groups = group_parameters(model, matcher(coarse=False), reverse=True)
    return {name: int(groups[name]) for name in names}


def without_decay(model: nn.Module) -> set[nn.Parameter]:
    """Parameters that timm trains without weight decay: vectors (biases, norms) and those that a part names."""
    found = {p for p in model.parameters() if p.ndim <= 1}
    for part in model.modules():
        listed: Any = getattr(part, "no_weight_decay", None)
        names = set(listed()) if callable(listed) else set()
        found |= {p for name, p in part.named_parameters() if name in names}
    return found

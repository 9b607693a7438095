"""The network of a stage: new, continued from the stage before, or as it was stored."""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ltbench.engine.task import Task
from ltbench.errors import InputError
from ltbench.method.contract import Method, Stage
from ltbench.models.classifiers import initialise_as_ldam
from ltbench.models.network import Network, initialised_backbone
from ltbench.randomness import key, seeded


def network(method: Method, task: Task, position: int) -> Network:
    """A new network for a method. All methods of one seed start from the same backbone."""
    height, width, channels = task.data.train.images.shape[1:]
    branches = [key(task.seed, "backbone", *([k] if k else [])) for k in range(method.branches)]
    size = task.recipe.input_size(height, width)
    weights = task.recipe.weights.file if task.recipe.weights else None
    backbone, features = initialised_backbone(
        task.recipe.backbone,
        channels,
        size,
        branches,
        method.branches_own,
        method.branches_width,
        weights,
        functools.partial(method.rebuild, classes=len(task.data.counts)),
    )
    heads = {}
    for name in method.heads:
        with seeded(key(task.seed, "head", name, position)):
            heads[name] = method.build_head(name, features, len(task.data.counts))
            if task.recipe.classifier_init == "ldam":
                initialise_as_ldam(heads[name])
    return Network(backbone, heads)


def trained_network(method: Method, task: Task, state: Mapping[str, Tensor]) -> Network:
    """The network of a stage on the device of a task, from its stored state.

    Args:
        method: the stage's.
        state: of the network, by name.
    """
    net = network(method, task, 0)
    restore(net, state)
    method.setup(torch.tensor(task.data.counts, dtype=torch.float64, device=task.device))
    return net.to(task.device).to(memory_format=torch.channels_last)


def take_over(net: Network, before: Mapping[str, Any], stage: Stage) -> None:
    """Copy the backbone of the stage before into a new network, and its heads where the stage keeps them.

    The first head continues the first head of the stage before, which predicts there, whatever their names are. Other
    heads continue those of the same name.

    Raises:
        InputError: when ``Method.rebuild`` has no place for a layer of the stage before.
    """
    first, old = f"heads.{net.first}.", f"heads.{before['head']}."
    heads = {name: value for name, value in before["network"].items() if name.startswith("heads.")}
    kept = {name: value for name, value in heads.items() if not name.startswith((first, old))}
    kept |= {first + name.removeprefix(old): value for name, value in heads.items() if name.startswith(old)}
    shapes = {name: value.shape for name, value in net.state_dict().items()}
    backbone = {name: value for name, value in before["network"].items() if name.startswith("backbone.")}
    if lost := [name for name, value in backbone.items() if shapes.get(name) != value.shape]:
        raise InputError(
            f"the stage before has {lost[0]}, which this network lacks or has in another shape; rebuild() must keep "
            "the names and shapes of layers"
        )
    restore(net, backbone)
    if not stage.new_heads:
        restore(net, {name: value for name, value in kept.items() if shapes.get(name) == value.shape})


def restore(net: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy these values into a module's state, bit for bit."""
    own = net.state_dict()
    for name, value in values.items():
        own[name].copy_(value)

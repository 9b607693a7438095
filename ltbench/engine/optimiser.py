"""The optimiser of a stage, and its learning rate."""

import fnmatch
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ltbench.errors import InputError
from ltbench.method.contract import Stage
from ltbench.models.backbones import build_backbone
from ltbench.models.layers import layer_depths, without_decay
from ltbench.models.network import Network
from ltbench.plan.recipe import Recipe
from ltbench.randomness import seeded

BETA2 = 0.999


def optimiser_of(net: Network, stage: Stage, recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    """The optimiser of the parameters that a stage trains.

    Its learning rates are tensors, at first 0. A group's ``factor`` on the rate is that of the stage times that of its
    layer (``recipe.layer_decay``).

    Raises:
        InputError: for a pattern of the stage that no parameter has.
    """
    names = {"all": {"*": 1.0}, "heads": {"heads.*": 1.0}}
    factors = names[stage.trains] if isinstance(stage.trains, str) else stage.trains
    _check_patterns(net, stage.name, factors)
    scales = _scales(net, recipe)
    undecayed = set() if recipe.decay_vectors else without_decay(net)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        factor = next((factors[pattern] for pattern in factors if fnmatch.fnmatchcase(name, pattern)), None)
        parameter.requires_grad_(factor is not None)
        if factor is not None:
            kind = factor * scales.get(name, 1.0), parameter not in undecayed
            groups.setdefault(kind, []).append(parameter)
    groups = groups or {(1.0, True): []}  # on features, a network whose heads have no parameters
    decay = _weight_decay(recipe, stage)
    optimiser = _optimiser(
        recipe,
        device,
        [
            {
                "params": g,
                "factor": f,
                "lr": torch.tensor(0.0, device=device),
                "weight_decay": decay if decayed else 0.0,
            }
            for (f, decayed), g in groups.items()
        ],
    )
    for group in groups.values():  # the first step would create these; a captured step must not differ from later ones
        for parameter in group:
            optimiser.state[parameter].update(_first_state(recipe, parameter))
    return optimiser


def _check_patterns(net: Network, stage: str, patterns: Iterable[str]) -> None:
    """A backbone or heads without any parameter, as on features of a frozen backbone, fit every pattern."""
    empty = {
        part
        for part, found in (("backbone", net.backbone), ("heads", net.heads))
        if next(found.parameters(), None) is None
    }
    names = [name for name, _ in net.named_parameters()]
    for pattern in patterns:
        if pattern.partition(".")[0] not in {"*", *empty} and not fnmatch.filter(names, pattern):
            raise InputError(
                f"stage '{stage}' trains '{pattern}', but no parameter has such a name; the names are like "
                f"{', '.join(names[:1] + names[-1:])}",
                pattern,
            )


def _optimiser(recipe: Recipe, device: torch.device, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        on_gpu = device.type == "cuda"
        adamw = torch.optim.AdamW(groups, betas=(recipe.momentum, BETA2), fused=True, capturable=on_gpu)
        vars(adamw)["_warned_capturable_if_run_uncaptured"] = True  # it also runs eagerly, as before a capture
        return adamw
    return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)


def _first_state(recipe: Recipe, parameter: nn.Parameter) -> dict[str, Tensor]:
    if recipe.optimizer == "adamw":
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        return {"step": torch.zeros((), device=parameter.device)} | moments
    return {"momentum_buffer": torch.zeros_like(parameter)}


def state_of(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """Every tensor of an optimiser that a step changes."""
    return [value for state in optimiser.state.values() for value in state.values()]


def clip_gradients(optimiser: torch.optim.Optimizer, longest: float) -> None:
    """Scale the gradient of all parameters down to this norm, if it is longer."""
    parameters = (parameter for group in optimiser.param_groups for parameter in group["params"])
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients:
        length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (longest / (length + 1e-6)).clamp(max=1.0))


def _scales(net: Network, recipe: Recipe) -> dict[str, float]:
    """The factor of each parameter of the backbone on the learning rate; copies of a layer have the same one.

    Layers that a method adds (``Method.rebuild``) have the full rate, as heads do.
    """
    if recipe.layer_decay == 1:
        return {}
    with seeded(0):  # only the names of its layers count
        plain = build_backbone(recipe.backbone, 3, (recipe.resized_crop or recipe.image_size or 32,) * 2)
    depths = layer_depths(plain)
    layers, own = 1 + max(depths.values()), {name: _unbranched(name) for name, _ in net.backbone.named_parameters()}
    if other := [plain for name, plain in own.items() if plain != name and plain not in depths]:
        raise InputError(
            f"the layers of backbone '{recipe.backbone}' with branches are not known ({other[0]}); set "
            "recipe.layer_decay=1 or another recipe.backbone",
            "layer_decay",
        )
    known = {name: depths[plain] for name, plain in own.items() if plain in depths}
    return {f"backbone.{name}": recipe.layer_decay ** (layers - depth) for name, depth in known.items()}


def _unbranched(name: str) -> str:
    """The name that a parameter has in a backbone without branches."""
    parts = name.split(".")
    return ".".join(parts[1:] if parts[0] == "trunk" else parts[2:] if parts[0] == "tails" else parts)


def _weight_decay(recipe: Recipe, stage: Stage) -> float:
    """The weight decay of a stage.

    AdamW multiplies it by the learning rate only, so a method's own decay is for its own rate: the product of both
    stays what it is in the method.
    """
    if stage.weight_decay is None:
        return recipe.weight_decay
    if recipe.optimizer == "adamw" and recipe.lr_of_methods is not None:
        return stage.weight_decay * recipe.lr_of_methods / recipe.lr
    return stage.weight_decay


def learning_rate(recipe: Recipe, stage: Stage, epoch: int, epochs: int) -> float:
    """Learning rate of an epoch (from 0) of a stage of ``epochs``; milestones and warm-up scale with its length."""
    at = epoch * recipe.epochs / epochs
    base = recipe.lr
    if stage.lr is not None:
        base = stage.lr * (recipe.lr / recipe.lr_of_methods if recipe.lr_of_methods is not None else 1.0)
    schedule = stage.schedule or recipe.schedule
    if schedule == "constant":
        factor = 1.0
    elif schedule == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    else:
        factor = recipe.decay ** sum(at >= milestone - 1e-9 for milestone in recipe.milestones)
    warmup = recipe.warmup_epochs * epochs / recipe.epochs
    return base * factor * (min(1.0, (epoch + 1) / warmup) if warmup else 1.0)

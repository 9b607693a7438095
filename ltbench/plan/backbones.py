"""Several backbones with pretrained weights in one table, and the methods that can be trained with each."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.data import ImageSet, Imbalance
from ltbench.errors import InputError, one_line
from ltbench.plan.recipe import Recipe
from ltbench.plan.request import Request
from ltbench.plan.selection import Chain

if TYPE_CHECKING:
    from torch import nn

    from ltbench.method.contract import Method
    from ltbench.models.backbones import Part

    Changes = Callable[..., nn.Module]  # ``Method.rebuild``
    Layout = tuple[int, Part, float, Changes | None]  # number of branches, what they own, their width, other changes

PLAIN: "Layout" = (1, "last stage", 1.0, None)
"""Of most methods."""
Trained = Mapping[tuple[str, Imbalance], list[tuple[Chain, Recipe]]]
"""What is trained at each place (data set, imbalance): chains, each with its recipe."""


def backbones_of(request: Request) -> list[dict[str, Any]]:
    """The backbones that ``recipe.backbone`` names, each with its weights if ``recipe.pretrained`` is set too.

    Raises:
        InputError: when weights and backbones do not belong together.
    """
    names, files = (_listed(request.recipe_changes.get(name, ())) for name in ("backbone", "pretrained"))
    if not names:
        return []
    if len(names) > 1 and len(files) == 1 and files[0] is True:
        files *= len(names)
    if files and len(files) != len(names):
        raise InputError(
            f"recipe.backbone has {len(names)} names and recipe.pretrained {len(files)} values; give true, or one file "
            "for each backbone",
            "pretrained",
        )
    weights = [{"pretrained": file} for file in files] or [{} for _ in names]
    return [{"backbone": name, **own} for name, own in zip(names, weights, strict=True)]


def on_backbones(trained: Trained, fitted: Mapping[str, Recipe], request: Request) -> tuple[Trained, dict[str, str]]:
    """What is trained, on each backbone of a request; and why a method is skipped, by its name.

    All backbones see the same pixels, whose size, crop and interpolation are those of the first one: rows of different
    images could not be compared.

    Args:
        trained: by the first backbone.
        fitted: the recipe that resizes the images of each data set.
        request: names the backbones.

    Raises:
        InputError: for several backbones without pretrained weights, and when no method is left.
    """
    backbones, unfit = backbones_of(request), dict[str, str]()
    found: dict[tuple[str, Imbalance], list[tuple[Chain, Recipe]]] = {}
    for place, rows in trained.items():
        found[place] = []
        sizes = {name: getattr(fitted[place[0]], name) for name in ("image_size", "resized_crop", "interpolation")}
        for chain, recipe in rows:
            if recipe.frozen and (why := next((m.needs_pixels for _, m in chain if m.needs_pixels), "")):
                name = chain[-1][0].name
                unfit[name] = f"{name} {why}, and this recipe trains on features"
                continue
            first = recipe.changed(sizes) if recipe.pretrained else recipe
            found[place] += [(chain, first), *((chain, first.changed(values)) for values in backbones[1:])]
    if len(backbones) > 1 and not all(recipe.pretrained for rows in found.values() for _, recipe in rows):
        raise InputError(
            "several backbones share a table only with recipe.pretrained; otherwise run each backbone alone",
            "backbone",
        )
    _check_left(found, unfit)
    return found, unfit


def buildable(trained: Trained, sets: Mapping[str, ImageSet]) -> tuple[Trained, dict[str, str]]:
    """What is trained of it, since its network can be built from the backbone; and why a method is skipped.

    Args:
        trained: each with its recipe.
        sets: the images of each data set.

    Raises:
        InputError: where a backbone does not take the images, and when no method is left.
    """
    found: dict[tuple[str, Imbalance], list[tuple[Chain, Recipe]]] = {}
    unbuilt: dict[str, str] = {}
    for place, rows in trained.items():
        images = sets[place[0]]
        height, width, channels = images.train.images.shape[1:]
        found[place] = []
        for chain, recipe in rows:
            weights = recipe.weights.file if recipe.weights else None
            takes = functools.partial(
                _check_network,
                len(images.classes),
                recipe.backbone,
                channels,
                recipe.input_size(height, width),
                weights,
            )
            takes(PLAIN)
            try:
                for layout in () if recipe.frozen else [_layout(method) for _, method in chain]:
                    takes(layout)
            except Exception as error:  # also of a method's own code; an error in one must not stop the others
                name = chain[-1][0].name
                line = f"{name} cannot be trained with backbone '{recipe.backbone}': {one_line(error)}"
                unbuilt[f"{name} {recipe.backbone}"] = line
            else:
                found[place].append((chain, recipe))
    _check_left(found, unbuilt)
    return found, unbuilt


def _layout(method: "Method") -> "Layout":
    """What a method makes of a backbone."""
    from ltbench.method.contract import Method

    rebuild = None if type(method).rebuild is Method.rebuild else method.rebuild
    return method.branches, method.branches_own, method.branches_width, rebuild


@functools.cache
def _check_network(
    classes: int, backbone: str, channels: int, size: tuple[int, int], weights: Path | None, layout: "Layout"
) -> None:
    """Raises InputError where a backbone with these changes does not take images of H x W = ``size``."""
    from ltbench.models.network import initialised_backbone

    branches, own, width, changes = layout
    rebuild = None if changes is None else functools.partial(changes, classes=classes)
    initialised_backbone(backbone, channels, size, [0] * branches, own, width, weights, rebuild)


def _check_left(found: Trained, unfit: Mapping[str, str]) -> None:
    """Raises InputError where no method is left."""
    if unfit and not any(found.values()):
        raise InputError(f"no method is left: {'; '.join(unfit.values())}; name other --methods", "methods")


def _listed(value: Any) -> tuple[Any, ...]:
    """The values of a setting that may have several, separated by commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return tuple(value) if isinstance(value, list | tuple) else (value,)

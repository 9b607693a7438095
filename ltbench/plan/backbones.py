"""Several backbones with pretrained weights in one table, and the methods that can train on their features."""

from collections.abc import Mapping
from typing import Any

from ltbench.data import Imbalance
from ltbench.errors import InputError
from ltbench.plan.recipe import Recipe
from ltbench.plan.request import Request
from ltbench.plan.selection import Chain

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
    if unfit and not any(found.values()):
        raise InputError(f"no method is left: {'; '.join(unfit.values())}; name other --methods", "methods")
    return found, unfit


def _listed(value: Any) -> tuple[Any, ...]:
    """The values of a setting that may have several, separated by commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return tuple(value) if isinstance(value, list | tuple) else (value,)

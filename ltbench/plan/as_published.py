"""As published: the settings of published accuracies as presets, and which of them can be reproduced. Needs no torch.

The settings that a method's file records beside a published accuracy are the only presets there are.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ltbench.errors import InputError, unknown
from ltbench.method.published import Published
from ltbench.plan.cell import AS_PUBLISHED
from ltbench.plan.recipe import FAMILIES, Recipe


def table_name(changes: Mapping[str, Any]) -> str:
    """The name of the table of all rows that are trained as published, with these changes to their recipes."""
    given = ",".join(f"{field}={value}" for field, value in sorted(changes.items()))
    return f"{AS_PUBLISHED}[{given}]" if given else AS_PUBLISHED


def values_of(figure: Published, names: Collection[str]) -> dict[str, Any]:
    """The hyper-parameters among the settings of a published accuracy.

    Args:
        names: of the method's hyper-parameters.
    """
    return {name: value for name, value in figure.settings.items() if name in names}


def recipe_of(figure: Published) -> Recipe:
    """The recipe of a published accuracy: that of its family in fp32, with its own backbone and settings.

    Where the source reports the best epoch on the test set, the test images are evaluated after every epoch.

    Raises:
        InputError: for a family without a recipe.
    """
    if figure.family not in FAMILIES:
        raise unknown("recipe family", figure.family, FAMILIES)
    own = {name.removeprefix("recipe."): v for name, v in figure.settings.items() if name.startswith("recipe.")}
    chosen = {"test_curve": True, "evaluate_every": 1} if figure.epoch == "best-on-test" else {}
    fixed = {"backbone": figure.backbone, "precision": "fp32"}
    return FAMILIES[figure.family].changed(fixed | chosen | own)


def obstacles(figure: Published, names: Collection[str]) -> list[str]:
    """Why the settings of a published accuracy cannot be reproduced; empty where they can.

    Args:
        names: of the method's hyper-parameters. A setting that is neither one nor a value of the recipe says in words
            what differs from the method.
    """
    words = [k for k in figure.settings if k not in names and not k.startswith("recipe.")]
    return [*([] if figure.family in FAMILIES else [f"recipe family {figure.family}"]), *words]


def reproducible(figures: Iterable[Published], names: Collection[str], dataset: str, imbalance: str) -> Published:
    """The published accuracy that a method is trained for at a place: the first one that can be reproduced.

    Args:
        figures: of the method, in the order of its file.
        names: of its hyper-parameters.

    Raises:
        InputError: where there is none, with what differs in the first one.
    """
    there = [figure for figure in figures if (figure.dataset, figure.imbalance) == (dataset, imbalance)]
    for figure in there:
        if not obstacles(figure, names):
            return figure
    if not there:
        raise InputError("no published accuracy")
    raise InputError(f"the settings of {there[0].source} differ in {', '.join(obstacles(there[0], names))}")


def preset(method: str, figures: Iterable[Published], names: Collection[str], asked: object) -> dict[str, Any]:
    """The hyper-parameters of ``METHOD(preset=DATASET-IMBALANCE)``, as ``mislas(preset=cifar10-100)``.

    They are those of the first published accuracy at that place.

    Raises:
        InputError: where the method has no published accuracy at that place.
    """
    places = {f"{figure.dataset}-{figure.imbalance}": values_of(figure, names) for figure in reversed(list(figures))}
    if str(asked) not in places:
        raise unknown(f"preset of {method}", str(asked), places, "" if places else "it has no published accuracy")
    return places[str(asked)]

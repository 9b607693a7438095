"""What is searched: a method's own ranges, and the values of the recipe that every method may choose."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ltbench.method.contract import Method
from ltbench.method.hyperparameters import Choice, Range
from ltbench.plan.recipe import Recipe

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

KNOBS = ("lr", "weight_decay")
"""Values of the recipe that every method may choose; the shared knobs."""
OCTAVES = 2
"""A knob is searched from 2^-2 to 2^2 times the recipe's value, in factors of two."""
KNOB = "log2_"

Values = dict[str, Any]


def space_of(method: Method, recipe: Recipe, fixed: Mapping[str, Any]) -> dict[str, "BaseDistribution"]:
    """Optuna's distributions: the knobs that are shared, and the method's own ranges but for what is fixed.

    Args:
        method: a `Method`.
        recipe: the suite's `Recipe`; a knob that is 0 in it is not searched.
        fixed: the method's hyper-parameters that were set by hand.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space: dict[str, BaseDistribution] = {
        KNOB + knob: IntDistribution(-OCTAVES, OCTAVES) for knob in KNOBS if getattr(recipe, knob)
    }
    for name, parameter in method.space().items():
        if name in fixed:
            continue
        if isinstance(parameter, Choice):
            if parameter.searched:
                space[name] = CategoricalDistribution(parameter.options)
        elif isinstance(parameter, Range):
            kind = IntDistribution if isinstance(parameter.default, int) else FloatDistribution
            space[name] = kind(parameter.low, parameter.high, log=parameter.log)
    return space


def values_of(params: Mapping[str, Any], knobs: Mapping[str, float]) -> tuple[Values, Values]:
    """The method's hyper-parameters and the changes to the recipe that a trial's parameters mean.

    Args:
        params: of an Optuna trial.
        knobs: the recipe's own values of the shared ones.
    """
    own = {name: value for name, value in params.items() if not name.startswith(KNOB)}
    shared = {name: value * 2.0 ** params[KNOB + name] for name, value in knobs.items() if KNOB + name in params}
    return own, {name: value for name, value in shared.items() if value != knobs[name]}


def public_name(name: str) -> str:
    """The name of an Optuna parameter as ``--set`` takes it."""
    return f"recipe.{name.removeprefix(KNOB)}" if name.startswith(KNOB) else name


def space_as_text(space: "Mapping[str, BaseDistribution]") -> dict[str, str]:
    """A search space as a study keeps it."""
    from optuna.distributions import distribution_to_json

    return {name: json.dumps(json.loads(distribution_to_json(found))["attributes"]) for name, found in space.items()}

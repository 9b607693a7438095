"""Limits of what a suite or command may ask for, checked before memory is used, and errors of pydantic in plain words.

They are no constraints of `Recipe`'s fields: its code is part of the identity of results, and limits change no result.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ltbench.data.home import expanded
from ltbench.errors import InputError
from ltbench.plan.recipe import Recipe

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

HIGHEST_SEED = 2**32 - 1
MOST_SEEDS = 10_000
MOST_CELLS = 100_000
HIGHEST_FACTOR = 1e9
HIGHEST: dict[str, float] = {
    "image_size": 4096,
    "resized_crop": 4096,
    "crop_padding": 4096,
    "cutout_side": 4096,
    "epochs": 1_000_000,
    "warmup_epochs": 1_000_000,
    "evaluate_every": 1_000_000,
    "batch_size": 1_000_000,
    "lr": 1e6,
    "lr_of_methods": 1e6,
    "weight_decay": 1e6,
    "clip_grad": 1e9,
    "randaugment_operations": 100,
}
"""The highest value of a field of a recipe."""
TYPES = {
    "int": "give an integer",
    "float": "give a number",
    "finite": "give a finite number",
    "bool": "give true or false",
    "string": "give a text in quotes",
    "tuple": "give a list",
    "dict": "give a table of keys and values",
}
"""What to give, by the start of the kind of pydantic's error."""


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with other values, as `Recipe.changed`, within the limits.

    Raises:
        InputError: for a field that does not exist or a value that is not allowed.
    """
    for field, value in changes.items():
        if field in Recipe.model_fields:
            _check_kind(field, value)
    if isinstance(weights := changes.get("pretrained"), str):
        expanded(weights)
    try:
        new = recipe.changed(changes)
    except InputError as error:
        if isinstance(error.__cause__, ValidationError):
            first = error.__cause__.errors()[0]
            field = str(first["loc"][0])
            raise InputError(f"recipe.{field}={_shown(first['input'])}: {in_words(first)}", field) from error
        raise
    for field, highest in HIGHEST.items():
        value = getattr(new, field)
        if value is not None and value > highest:
            raise InputError(f"recipe.{field}={_shown(value)}: give at most {highest:,.0f}", field)
    for at in new.milestones:
        if not 0 <= at <= HIGHEST["epochs"]:
            raise InputError(f"recipe.milestones={_shown(list(new.milestones))}: give epochs from 0 on", "milestones")
    return new


def _check_kind(field: str, value: Any) -> None:
    """Pydantic takes ``true`` and ``'2'`` for numbers; here they are an error."""
    kind = Recipe.model_fields[field].annotation
    if kind in (int, float, int | None, float | None) and isinstance(value, bool | str):
        quoted = isinstance(value, str) and value.strip("+-").replace(".", "", 1).isdigit()
        given = f"'{value}'" if quoted else str(value) if isinstance(value, str) else str(value).lower()
        what = "an integer" if kind in (int, int | None) else "a number"
        raise InputError(f"recipe.{field}={_shown(given)}: give {what}{' without quotes' if quoted else ''}", field)


def in_words(error: "ErrorDetails") -> str:
    """What is allowed in place of a value that pydantic refuses, in plain words."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return "give one of " + str(context["expected"]).replace(" or ", ", ")
    for comparison, words in (("_equal", ("at least", "at most")), ("", ("a number above", "a number below"))):
        for name, key, word in (("greater_than", "ge", words[0]), ("less_than", "le", words[1])):
            if kind == name + comparison:
                return f"give {word} {context[key if comparison else key[0] + 't']}"
    if kind == "too_short":
        return f"give at least {context['min_length']}"
    if kind == "missing":
        return "it is missing"
    return TYPES.get(kind.partition("_")[0], error["msg"])


def count_of_seeds(count: int) -> tuple[int, ...]:
    """The seeds 0 to ``count - 1``.

    Raises:
        InputError: when there are too many.
    """
    if count > MOST_SEEDS:
        raise InputError(
            f"{_shown(count)} seeds are too many; at most {MOST_SEEDS} are allowed (100 are usually plenty)"
        )
    return tuple(range(count))


def _shown(value: Any) -> str:
    """A value as text on one line, shortened where it is long."""
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:50]}… ({len(text)} characters)"

"""A suite: data sets x imbalances x methods x seeds under one recipe, written as TOML."""

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ltbench.data.longtail import Imbalance, Profile
from ltbench.errors import InputError, unknown
from ltbench.method.entries import check_integers
from ltbench.plan.bounds import HIGHEST_FACTOR, HIGHEST_SEED, MOST_SEEDS, count_of_seeds, in_words
from ltbench.plan.bounds import changed as changed_recipe
from ltbench.plan.recipe import RECIPES, Recipe

SUITES = Path(__file__).parent / "suites"


class Suite(BaseModel):
    """The data sets, imbalances, methods and seeds of a comparison, and its recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: str = ""
    datasets: tuple[str, ...] = Field(min_length=1)
    profile: Profile = "exp"
    """Profile of the imbalances that are plain numbers."""
    imbalance: tuple[Imbalance, ...] = Field((Imbalance("natural"),), min_length=1)
    """``100`` (of the suite's profile), ``"exp:100"``, ``"step:10"`` or ``"natural"``."""
    methods: tuple[str, ...] = Field(("*",), min_length=1)
    """Names, patterns, or ``NAME(KEY=VALUE, ...)``."""
    after: tuple[str, ...] = ()
    """Methods that train features, written like ``methods``. Each is trained, and every method of ``methods`` that
    continues from another one is trained after each of them, where that is meaningful."""
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    """Training seeds: a list, or a number (counted from 0)."""
    baseline_seeds: int = Field(4, ge=0)
    """Further training seeds of ``ce``: its noise is in every comparison with it, so its seeds are worth most. They
    follow the others, and are skipped where nothing is compared over seeds, and where a request names its seeds."""
    subset_seeds: tuple[int, ...] = Field((0,), min_length=1)
    """Seeds of the cut, which decide which images stay in the training set; each makes its own table. A list, or a
    number (counted from 0, the canonical subset). ``subset_seed`` names a single one."""
    holdout: int = Field(0, ge=0)
    """Images per class that are set aside for validation before the tail is cut."""
    recipe: Recipe = RECIPES["ldam"]
    """A named recipe, or a table of changes to one (``base = "ldam"``)."""
    as_published: bool = False
    """Train each method with the hyper-parameters and the recipe of a published accuracy, instead of ``recipe``."""
    hyperparameters: dict[str, dict[str, Any]] = {}
    """For each method, values in place of its defaults."""

    @model_validator(mode="before")
    @classmethod
    def _imbalances(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = values.get("imbalance")
        if given is None:
            return values
        entries = given if isinstance(given, list | tuple) else [given]
        return values | {"imbalance": tuple(Imbalance.parse(x, values.get("profile", "exp")) for x in entries)}

    @model_validator(mode="before")
    @classmethod
    def _one_subset_seed(cls, values: dict[str, Any]) -> dict[str, Any]:
        if "subset_seed" not in values:
            return values
        if "subset_seeds" in values:
            raise InputError("subset_seed and subset_seeds are both given; remove one", "subset_seed")
        one = values["subset_seed"]
        return {key: value for key, value in values.items() if key != "subset_seed"} | {"subset_seeds": (one,)}

    @model_validator(mode="before")
    @classmethod
    def _recipe_or_as_published(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("as_published") and not isinstance(values.get("recipe", RECIPES["ldam"]), Recipe):
            raise InputError("recipe and as_published are both given; remove one", "as_published")
        return values

    @field_validator("seeds", "subset_seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return count_of_seeds(value)
        return value

    @field_validator("seeds", "subset_seeds")
    @classmethod
    def _seeds_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or min(value) < 0:
            raise ValueError("seeds must be different numbers from 0 on")
        if max(value) > HIGHEST_SEED or len(value) > MOST_SEEDS:
            raise ValueError(f"give at most {MOST_SEEDS} seeds, each at most {HIGHEST_SEED}")
        return value

    @field_validator("imbalance")
    @classmethod
    def _factors_are_possible(cls, value: tuple[Imbalance, ...]) -> tuple[Imbalance, ...]:
        if any(one.factor > HIGHEST_FACTOR for one in value):
            raise ValueError(f"give factors of at most {HIGHEST_FACTOR:,.0f}; no class has so many images")
        return value

    @property
    def further_seeds(self) -> tuple[int, ...]:
        """The seeds that only the baseline has."""
        first = max(self.seeds) + 1
        return tuple(range(first, first + self.baseline_seeds)) if len(self.seeds) > 1 else ()

    @field_validator("recipe", mode="before")
    @classmethod
    def _recipe(cls, value: Any) -> Any:
        if isinstance(value, str):
            return Recipe.of(value)
        if isinstance(value, dict):
            changes = dict(value)
            named = Recipe.of(changes.pop("base", "ldam"))
            return changed_recipe(named, changes)
        return value

    def changed(self, **values: Any) -> "Suite":
        """This suite with other values.

        Raises:
            InputError: when one is not allowed.
        """
        return validated({name: getattr(self, name) for name in type(self).model_fields} | values, self.name)


def suite_names() -> list[str]:
    """The suites that are part of the package."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def load_suite(name: str) -> Suite:
    """A suite of the package by name, or any by the path of its file.

    Raises:
        InputError: when there is none, or its file is wrong (naming key and line).
    """
    path = Path(name)
    if not (path.suffix == ".toml" or path.is_file()):
        path = SUITES / f"{name}.toml"
        if not path.is_file():
            raise unknown("suite", name, suite_names(), "or give the path of a .toml file")
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
        check_integers(content)
    except (OSError, ValueError, RecursionError) as error:  # InputError is a ValueError
        raise InputError(f"suite {path}: {error}") from error
    return validated({"name": path.stem} | content, str(path), text)


def validated(content: dict[str, Any], origin: str, text: str = "") -> Suite:
    """A suite from its values, with errors that name the key, the line where there is a text, and what is allowed."""
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        cause = first.get("ctx", {}).get("error")
        if first["type"] == "extra_forbidden":
            cause = unknown("key", place, Suite.model_fields)
        if not isinstance(cause, InputError):
            cause = InputError(f"{place}: {in_words(first)}", place)
        line = _line(text, cause.culprit, place)
        raise InputError(f"suite {origin}{line}: {cause}") from error


def _line(text: str, *keys: str) -> str:
    """``, line 3``: the line of a suite's text that sets the first of the keys found in it."""
    for key in keys:
        for number, line in enumerate(text.splitlines(), 1):
            if key and re.match(rf"\s*\[?{re.escape(key.split('.')[0])}\b", line):
                return f", line {number}"
    return ""

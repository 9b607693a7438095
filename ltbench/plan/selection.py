"""The methods that a suite asks for: each with its chain, and with its recipe at each place."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ltbench.data import Imbalance
from ltbench.errors import InputError
from ltbench.method.entries import AFTER, parse_entry, written
from ltbench.plan.as_published import preset, recipe_of, reproducible, table_name, values_of
from ltbench.plan.recipe import Recipe
from ltbench.plan.suite import Suite

if TYPE_CHECKING:
    from ltbench.method.contract import Method
    from ltbench.method.registry import Entry, Registry

Chain = list[tuple["Entry", "Method"]]
"""Methods that are trained one after another."""
Asked = list[tuple[str, Mapping[str, Any]]]
"""Names of methods, each with its values."""
PRESET = "preset"
"""The key of an entry that names a published accuracy, whose hyper-parameters the method gets."""


@dataclass(frozen=True)
class Selection:
    """What is trained.

    Attributes:
        trained: at each place (data set, imbalance), the chains, each with its recipe.
        skipped: lines on why methods or combinations are not trained; the keys only tell them apart.
        broken: why a method that is named in full cannot be used, by its name.
        compared_under: name of the recipe, or of the published settings, in titles of tables.
    """

    trained: Mapping[tuple[str, Imbalance], list[tuple[Chain, Recipe]]]
    skipped: Mapping[str, str]
    broken: Mapping[str, str]
    compared_under: str


def select(suite: Suite, changes: Mapping[str, Any], registry: "Registry") -> Selection:
    """The methods of a suite.

    Args:
        changes: of recipes, for methods that are trained as published.

    Raises:
        InputError: for an entry that is not understood, a name that does not exist, and a chain that is not allowed.
    """
    asked, broken = _asked(suite.methods, suite, registry)
    if suite.as_published:
        trained, skipped = _as_published(suite, changes, asked, registry)
        return Selection(trained, skipped, broken, table_name(changes))
    features, also_broken = _asked(suite.after, suite, registry)
    chains, refused = _chains(asked, features, suite, registry)
    rows = [(chain, suite.recipe) for chain in chains]
    places = itertools.product(suite.datasets, suite.imbalance)
    return Selection(dict.fromkeys(places, rows), refused, broken | also_broken, suite.recipe.label)


def _chains(asked: Asked, features: Asked, suite: Suite, registry: "Registry") -> tuple[list[Chain], dict[str, str]]:
    """The chains of methods, alone and on each of the ``features``; and why a combination is skipped, by its entry."""
    from ltbench.method.chain import Refused

    combined = [one for one in asked if features and registry[one[0]].method.after and AFTER not in one[1]]
    alone = [*features, *(one for one in asked if one not in combined)]
    chains = [registry.chain(name, values, suite.hyperparameters) for name, values in alone]
    refused: dict[str, str] = {}
    for (name, values), (feature, theirs) in itertools.product(combined, features):
        before = written(feature, theirs)
        try:
            chains.append(registry.chain(name, {**values, AFTER: before}, suite.hyperparameters))
        except Refused as why:
            refused[written(name, {AFTER: before})] = str(why)
    return chains, refused


def _as_published(
    suite: Suite, changes: Mapping[str, Any], asked: Asked, registry: "Registry"
) -> tuple[dict[tuple[str, Imbalance], list[tuple[Chain, Recipe]]], dict[str, str]]:
    """What is trained as published, and why the other methods are not.

    Each method gets the hyper-parameters and the recipe of its published accuracy for the place; other values that a
    request gives, and ``changes`` of recipes, replace them.

    Raises:
        InputError: where nothing can be trained as published.
    """
    places = itertools.product(suite.datasets, suite.imbalance)
    trained: dict[tuple[str, Imbalance], list[tuple[Chain, Recipe]]] = {place: [] for place in places}
    missing: dict[tuple[str, str], list[str]] = {}
    for (dataset, imbalance), rows in trained.items():
        for name, given in asked:
            names = registry[name].method.space()
            try:
                figure = reproducible(registry[name].method.published, names, dataset, str(imbalance))
                if AFTER in given:
                    raise InputError(f"{figure.source} continues from {registry[name].method.after}")
            except InputError as why:
                missing.setdefault((name, str(why)), []).append(f"{dataset} / {imbalance}")
                continue
            values = values_of(figure, names) | dict(given)
            rows.append((registry.chain(name, values, suite.hyperparameters), recipe_of(figure).changed(changes)))
    alike: dict[str, list[str]] = {}
    for (name, reason), at in missing.items():
        alike.setdefault(f"as published on {', '.join(at)}: {reason}", []).append(name)
    lines = {where: f"{', '.join(names)} {where}" for where, names in alike.items()}
    if not any(trained.values()):
        raise InputError(f"nothing can be trained as published; {'; '.join(lines.values())}")
    return trained, lines


def _asked(entries: Iterable[str], suite: Suite, registry: "Registry") -> tuple[Asked, dict[str, str]]:
    """The methods that entries name, each with its values, and the named ones that are broken.

    An entry is a name or pattern, or ``NAME(KEY=VALUE, ...)`` for a variant with other values; the key ``preset``
    stands for those of a published accuracy.

    Raises:
        InputError: for an entry that is neither, and for a name that does not exist.
    """
    names, broken = registry.match([one for one in entries if "(" not in one])
    found: Asked = [(name, suite.hyperparameters.get(name, {})) for name in names]
    for name, own in (parse_entry(one) for one in entries if "(" in one):
        names, also_broken = registry.match([name])
        broken |= also_broken
        found += [(name, _values(registry[name].method, suite.hyperparameters, own)) for name in names]
    return found, broken


def _values(method: "type[Method]", given: Mapping[str, Mapping[str, Any]], own: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an entry: those ``given`` to methods by name, a preset if it names one, then its own."""
    values = {**given.get(method.name, {})}
    if PRESET in own:
        values |= preset(method.name, method.published, method.space(), own[PRESET])
    return values | {key: value for key, value in own.items() if key != PRESET}

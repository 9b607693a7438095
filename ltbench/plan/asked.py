"""The methods that a suite asks for: from its entries to the chains that are trained."""

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ltbench.data import Imbalance
from ltbench.errors import InputError
from ltbench.method.entries import AFTER, parse_entry, written
from ltbench.plan.as_published import preset, recipe_of, reproducible, values_of
from ltbench.plan.recipe import Recipe
from ltbench.plan.suite import Suite

if TYPE_CHECKING:
    from ltbench.method.contract import Method
    from ltbench.method.registry import Entry, Registry

Chain = list[tuple["Entry", "Method"]]
"""Methods that are trained one after another."""
Trained = dict[tuple[str, Imbalance], list[tuple[Chain, Recipe]]]
"""What is trained at each place (data set, imbalance), each with its recipe."""
Why = dict[str, str]
"""Reasons by the name of what cannot be trained."""


def chains_of(suite: Suite, registry: "Registry") -> tuple[list[Chain], Why, Why]:
    """The chains of all methods that a suite asks for.

    Returns:
        The chains; why a combination of ``methods`` and ``after`` is skipped, by its entry; why a method that is named
        in full is broken, by its name.

    Raises:
        InputError: for an entry that is not understood, a name that does not exist, and a chain that is not allowed.
    """
    from ltbench.method.chain import Refused

    asked, broken = _asked(suite.methods, suite, registry)
    features, also_broken = _asked(suite.after, suite, registry)
    combined = [one for one in asked if features and registry[one[0]].method.after and AFTER not in one[1]]
    alone = [*features, *(one for one in asked if one not in combined)]
    chains = [registry.chain(name, values, suite.hyperparameters) for name, values in alone]
    refused: Why = {}
    for (name, values), (feature, theirs) in itertools.product(combined, features):
        before = written(feature, theirs)
        try:
            chains.append(registry.chain(name, {**values, AFTER: before}, suite.hyperparameters))
        except Refused as why:
            refused[written(name, {AFTER: before})] = str(why)
    return chains, refused, broken | also_broken


def as_published(suite: Suite, changes: Mapping[str, Any], registry: "Registry") -> tuple[Trained, Why, Why]:
    """What is trained as published.

    Each method gets the hyper-parameters and the recipe of its published accuracy for the place; other values that a
    request gives, and ``changes`` of recipes, replace them.

    Returns:
        What is trained; why the other methods are not; why a method that is named in full is broken.

    Raises:
        InputError: where nothing can be trained as published.
    """
    asked, broken = _asked(suite.methods, suite, registry)
    trained: Trained = {place: [] for place in itertools.product(suite.datasets, suite.imbalance)}
    missing: dict[tuple[str, str], list[str]] = {}
    for (dataset, imbalance), rows in trained.items():
        for name, given in asked:
            names = registry[name].method.space()
            try:
                figure = reproducible(registry[name].method.published, names, dataset, str(imbalance))
            except InputError as why:
                missing.setdefault((name, str(why)), []).append(f"{dataset} / {imbalance}")
                continue
            values = values_of(figure, names) | dict(given)
            chain = registry.chain(name, values, suite.hyperparameters)
            rows.append((chain, recipe_of(figure).changed(changes)))
    lines = {f"{name}: {why}": f"{name} as published on {', '.join(at)}: {why}" for (name, why), at in missing.items()}
    if not any(trained.values()):
        raise InputError(f"nothing can be trained as published; {'; '.join(lines.values())}")
    return trained, lines, broken


def _asked(
    entries: Iterable[str], suite: Suite, registry: "Registry"
) -> tuple[list[tuple[str, Mapping[str, Any]]], Why]:
    """The methods that entries name, each with its values, and the named ones that are broken.

    An entry is a name or pattern, or ``NAME(KEY=VALUE, ...)`` for a variant with other values; the key ``preset``
    stands for the hyper-parameters of a published accuracy.

    Raises:
        InputError: for an entry that is neither, and for a name that does not exist.
    """
    names, broken = registry.match([one for one in entries if "(" not in one])
    found: list[tuple[str, Mapping[str, Any]]] = [(name, suite.hyperparameters.get(name, {})) for name in names]
    for pattern, own in (parse_entry(one) for one in entries if "(" in one):
        names, also_broken = registry.match([pattern])
        broken |= also_broken
        found += [(name, _values(registry[name].method, suite.hyperparameters, own)) for name in names]
    return found, broken


def _values(method: "type[Method]", given: Mapping[str, Mapping[str, Any]], own: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters of an entry: those ``given`` to methods by name, a preset if it names one, then its own."""
    values = {**given.get(method.name, {})}
    if "preset" in own:
        values |= preset(method.name, method.published, method.space(), own["preset"])
    return values | {key: value for key, value in own.items() if key != "preset"}

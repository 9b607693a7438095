"""A request expanded into cells, with everything checked before anything is trained."""

import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ltbench.data import ImageSet, Imbalance, class_counts, load
from ltbench.data.sources import check_name, native_side
from ltbench.data.waiting import WaitingSplit
from ltbench.errors import InputError, unknown
from ltbench.plan.backbones import Trained, backbones_of, buildable, on_backbones
from ltbench.plan.bounds import MOST_CELLS, changed
from ltbench.plan.cell import Cell, Link
from ltbench.plan.recipe import RECIPES, Recipe
from ltbench.plan.request import Request, Variant
from ltbench.plan.selection import Chain, select
from ltbench.plan.suite import Suite, load_suite

if TYPE_CHECKING:
    from ltbench.method.contract import Method
    from ltbench.method.registry import Registry

SETTABLE = ("holdout", "subset_seed")
"""Keys of a suite, besides the recipe's, that ``--set`` may change."""


class Library:
    """The methods and images of a process: each is loaded, and each data set hashed, at most once.

    Args:
        fingerprints: of data sets that another process has hashed, as its ``fingerprints`` gives them.
    """

    def __init__(self, fingerprints: Mapping[tuple[str, ...], str] | None = None) -> None:
        self._known = dict(fingerprints or {})
        self._images: dict[tuple[str, ...], tuple[ImageSet, WaitingSplit | None]] = {}
        self._methods: dict[tuple[Path, ...], Registry] = {}

    def methods(self, folders: tuple[Path, ...]) -> "Registry":
        """All methods that can be found, with those in further folders."""
        if folders not in self._methods:
            from ltbench.method.registry import discover

            self._methods[folders] = discover(folders)
        return self._methods[folders]

    def images(self, name: str, recipe: Recipe, places: Mapping[str, str]) -> tuple[ImageSet, WaitingSplit | None]:
        """A data set as a recipe resizes it, without its test split, and its test split; see `load`."""
        key = (name, str(recipe.image_size), str(recipe.interpolation), str(sorted(places.items())))
        if key not in self._images:
            images = load(name, recipe.image_size, places, recipe.interpolation)
            images = replace(images, known_fingerprint=self._known.get(key, images.known_fingerprint))
            waiting = WaitingSplit(images.test) if images.test is not None else None
            self._images[key] = images.without_test(), waiting
        return self._images[key]

    @property
    def in_memory(self) -> dict[tuple[str, ...], tuple[ImageSet, WaitingSplit | None]]:
        """The data sets that were loaded into memory, as ``keep`` takes them; those in a file are not among them."""
        return {key: found for key, found in self._images.items() if not found[0].train.in_file}

    def keep(self, loaded: Mapping[tuple[str, ...], tuple[ImageSet, WaitingSplit | None]]) -> None:
        """Take data sets that another process has loaded."""
        self._images.update(loaded)

    def __contains__(self, key: tuple[str, ...]) -> bool:
        return key in self._images

    @property
    def fingerprints(self) -> dict[tuple[str, ...], str]:
        """The fingerprint of every data set that was loaded."""
        return {key: images.fingerprint for key, (images, _) in self._images.items()}


class PlannedStage(NamedTuple):
    """A stage of a cell: its name, identity and length, and its declared work: as long as so many images of ``ce``."""

    name: str
    id: str
    epochs: int
    work: float


@dataclass(frozen=True)
class Planned:
    """A cell with everything that training it needs.

    Attributes:
        methods: those of its chain, in order.
        images: its data set before the cut, without the test split.
        test: its test split; None: results are measured on the validation split.
        counts: training images of each class after the cut, [C].
    """

    cell: Cell
    methods: "tuple[Method, ...]"
    images: ImageSet
    test: WaitingSplit | None
    counts: tuple[int, ...]

    @cached_property
    def stages(self) -> tuple[PlannedStage, ...]:
        """All stages of its chain, in order. Those of one method share its work by the batches that they draw."""
        found, plain, before = [], sum(self.counts) * self.cell.recipe.epochs, 0.0
        for number, (method, cost) in enumerate(zip(self.methods, self.cell.costs, strict=True)):
            stages = method.stages()
            epochs = [self.cell.recipe.stage_epochs(stage.epochs) for stage in stages]
            batches = [n * len(method.streams_of(stage)) for n, stage in zip(epochs, stages, strict=True)]
            work = max(cost - before, 0.0) * plain / max(sum(batches), 1)
            found += [
                PlannedStage(f"{method.name}: {stage.name}", self.cell.stage_id(number, index), n, drawn * work)
                for index, (stage, n, drawn) in enumerate(zip(stages, epochs, batches, strict=True))
            ]
            before = cost
        return tuple(found)

    @property
    def work(self) -> float:
        """Its declared work, over all stages: as long as so many images of ``ce``."""
        return sum(stage.work for stage in self.stages)

    @property
    def work_an_epoch(self) -> float:
        """The same for one epoch; the mean over all stages."""
        return self.work / sum(stage.epochs for stage in self.stages)


@dataclass(frozen=True)
class Plan:
    """A request, expanded.

    Attributes:
        broken: methods that the request names and that cannot be used, each with the reason.
        skipped: methods that cannot be used either, but that the request does not name, combinations of the suite's
            ``methods`` and ``after`` that make no sense, methods that cannot be trained as published, methods that
            need pixels where the recipe trains on features, and those whose network cannot be built from the backbone.
        compared_under: name of the recipe, or of the published settings, in titles of tables.
    """

    request: Request
    suite: Suite
    cells: tuple[Planned, ...]
    broken: Mapping[str, str]
    skipped: Mapping[str, str]
    compared_under: str


def make_plan(request: Request, library: Library | None = None) -> Plan:
    """Expand a request, checking everything that can be checked before training. Writes nothing.

    Args:
        request: what to run.
        library: methods and images that were loaded before; None: load them.

    Raises:
        InputError: when anything in the request is wrong.
    """
    library = library or Library()
    registry = library.methods(request.methods_dirs)
    suite = _resolved(load_suite(request.suite), request, registry)
    for name in suite.datasets:
        check_name(name)
    selected = select(suite, request.recipe_changes, registry)
    fitted = {name: suite.recipe.fitted(functools.partial(native_side, name, request.data)) for name in suite.datasets}
    trained, unfit = on_backbones(selected.trained, fitted, request)
    further = suite.further_seeds if request.seeds is None and not suite.as_published else ()
    sets = _image_sets(fitted, request, library, trained)
    trained, unbuilt = buildable(trained, {name: images for name, (images, _) in sets.items()})
    counts = {(name, i): _counts(sets[name][0], i, suite.holdout) for name in suite.datasets for i in suite.imbalance}
    made = functools.partial(_cell, suite, registry, selected.compared_under)

    rows_of_seeds = sum(len(rows) for rows in trained.values()) * len(suite.subset_seeds)
    if (many := rows_of_seeds * len(suite.seeds)) > MOST_CELLS:
        raise InputError(
            f"{many:,} cells are too many; at most {MOST_CELLS:,} are allowed: name fewer seeds or methods"
        )

    def cells_of(seeds: tuple[int, ...]) -> "list[tuple[Cell, tuple[Method, ...]]]":
        places = list(itertools.product(suite.subset_seeds, seeds, suite.datasets, suite.imbalance))
        cells = [
            made(sets[place[2]][0], place, chain, recipe) for place in places for chain, recipe in trained[place[2:]]
        ]
        for chosen in request.variants:
            chain = registry.chain(chosen.method, chosen.hyperparameters, suite.hyperparameters)
            at = [place for place in places if (place[2], str(place[3])) == (chosen.dataset, chosen.imbalance)]
            cells += [made(sets[p[2]][0], p, chain, fitted[p[2]], chosen) for p in at]
        return cells

    cells = cells_of(suite.seeds)
    compared = _controls(cells)
    cells += [(cell, methods) for cell, methods in cells_of(further) if cell.entry == cell.control in compared]
    planned = {  # two entries of a suite may name the same cell
        (cell.id, cell.trial): Planned(cell, methods, *sets[cell.dataset], counts[cell.dataset, cell.imbalance])
        for cell, methods in cells
    }
    unused = {name: why for name, why in registry.broken.items() if name not in selected.broken}
    skipped = {**selected.skipped, **unfit, **unbuilt, **unused}
    return Plan(request, suite, tuple(planned.values()), selected.broken, skipped, selected.compared_under)


def _controls(cells: "Iterable[tuple[Cell, tuple[Method, ...]]]") -> set[str]:
    """The entries that others of a plan are compared with: those that were tuned by as many trials, if any."""
    rows: dict[str, set[str]] = {}
    for cell, _ in cells:
        rows.setdefault(cell.control, set()).add(cell.entry)
    return {control for control, entries in rows.items() if len(entries) > 1}


def _image_sets(
    fitted: Mapping[str, Recipe], request: Request, library: Library, trained: Trained
) -> dict[str, tuple[ImageSet, WaitingSplit | None]]:
    """The data sets of a suite with their test splits, once it is known that the backbones exist.

    Args:
        fitted: the recipe that resizes the images of each data set.
    """
    from ltbench.models import check_backbone

    for name in sorted({recipe.backbone for rows in trained.values() for _, recipe in rows}):
        check_backbone(name)
    sets = {name: library.images(name, recipe, request.data) for name, recipe in fitted.items()}
    return {name: (images, None) for name, (images, _) in sets.items()} if request.without_test else sets


def _cell(
    suite: Suite,
    registry: "Registry",
    compared_under: str,
    images: ImageSet,
    place: tuple[int, int, str, Imbalance],
    chain: Chain,
    recipe: Recipe,
    chosen: Variant | None = None,
) -> "tuple[Cell, tuple[Method, ...]]":
    """The cell of a chain of methods at a place (subset seed, seed, data set, imbalance), with those methods."""
    subset_seed, seed, dataset, imbalance = place
    from ltbench.method.chain import changed as changed_in

    methods = tuple(method for _, method in chain)
    changed = changed_in(methods)
    if chosen:
        base, recipe = recipe, recipe.changed(chosen.recipe)
        changed |= {f"recipe.{k}": v for k, v in recipe.model_dump().items() if v != getattr(base, k)}
    cell = Cell(
        dataset=dataset,
        label=images.name,
        fingerprint=images.fingerprint,
        imbalance=imbalance,
        subset_seed=subset_seed,
        holdout=suite.holdout,
        chain=tuple(Link(entry.name, entry.source, method.hyperparameters) for entry, method in chain),
        changed=changed,
        recipe=recipe,
        seed=seed,
        trials=chosen.trials if chosen else 0,
        trial=chosen.trial if chosen else None,
        compared_under=compared_under,
        costs=tuple(registry.cost(chain[: n + 1]) for n in range(len(chain))),
        pieces={name: value for entry, _ in chain for name, value in entry.pieces.items()},
    )
    return cell, methods


def _resolved(suite: Suite, request: Request, registry: "Registry") -> Suite:
    """The suite with the changes of a request."""
    hyperparameters = {name: dict(values) for name, values in suite.hyperparameters.items()}
    values: dict[str, Any] = {}
    for key, value in request.changes.items():
        part, _, name = key.partition(".")
        if part == "recipe" and name:
            continue  # below
        if key == "subset_seed":
            if request.subset_seeds is not None:
                raise InputError("subset_seed and --subset-seeds are both given; remove one", key)
            values["subset_seeds"] = (value,)
        elif key in SETTABLE and isinstance(value, bool | str):
            raise InputError(f"{key}={value}: give an integer without quotes", key)
        elif not name and part in SETTABLE:
            values[part] = value
        elif name and part in registry:
            hyperparameters.setdefault(part, {})[name] = value
        else:
            known = [*SETTABLE, *(f"recipe.{f}" for f in Recipe.model_fields), *(f"{m}.…" for m in registry)]
            allowed = "allowed: recipe.FIELD, METHOD.HYPERPARAMETER, METHOD.after, "
            raise unknown("setting", key, known, allowed + ", ".join(SETTABLE))
    for name, chosen in hyperparameters.items():
        if name not in registry and name not in registry.broken:
            raise unknown("method", name, registry)
        if name in registry:
            registry.chain(name, chosen, hyperparameters)
    for key in ("methods", "datasets", "imbalance", "seeds", "subset_seeds"):
        if getattr(request, key) is not None:
            values[key] = getattr(request, key)
    if request.methods is not None:
        values["after"] = ()
    if request.natural_by_default:
        values["imbalance"] = ("natural",)
    if request.as_published or suite.as_published:
        if suite.after and request.methods is None:
            why = "a suite with 'after' cannot be trained as published; name single methods with --methods"
            raise InputError(why, "after")
        if request.recipe:
            raise InputError("--recipe and --as-published are both given; remove one", "recipe")
        values |= {"as_published": True, "recipe": changed(RECIPES["ldam"], request.recipe_changes).chosen()}
    else:
        other = request.recipe or request.recipe_in_place_of(suite.recipe.base)
        named = Recipe.of(other) if other else suite.recipe
        values["recipe"] = changed(named, request.recipe_changes | next(iter(backbones_of(request)), {})).chosen()
    return suite.changed(**values, hyperparameters=hyperparameters)


def _counts(images: ImageSet, imbalance: Imbalance, holdout: int) -> tuple[int, ...]:
    available = [n - holdout for n in images.train.counts(len(images.classes))]
    if min(available) < 1:
        raise InputError(f"holdout of {holdout} images per class leaves a class of {images.name} empty; lower it")
    return tuple(class_counts(available, imbalance))

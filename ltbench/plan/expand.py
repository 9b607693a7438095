"""A request expanded into cells, with everything checked before anything is trained."""

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ltbench.data import ImageSet, Imbalance, class_counts, load
from ltbench.data.sources import check_name, native_side
from ltbench.data.waiting import WaitingSplit
from ltbench.errors import InputError, unknown
from ltbench.plan.cell import Cell, Link
from ltbench.plan.recipe import Recipe
from ltbench.plan.request import Request, Variant, parse_value
from ltbench.plan.suite import Suite, load_suite

if TYPE_CHECKING:
    from ltbench.method.contract import Method
    from ltbench.method.registry import Entry, Registry

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
    def fingerprints(self) -> dict[tuple[str, ...], str]:
        """The fingerprint of every data set that was loaded."""
        return {key: images.fingerprint for key, (images, _) in self._images.items()}


class PlannedStage(NamedTuple):
    """A stage of a cell: its identity, its length, and the images that one epoch passes through the network."""

    id: str
    epochs: int
    images: int


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
        """All stages of its chain, in order."""
        return tuple(
            PlannedStage(
                self.cell.stage_id(number, index),
                self.cell.recipe.stage_epochs(stage.epochs),
                sum(self.counts) * len(method.streams_of(stage)),
            )
            for number, method in enumerate(self.methods)
            for index, stage in enumerate(method.stages())
        )

    @property
    def work(self) -> float:
        """Images passed through the network, over all stages."""
        return float(sum(stage.epochs * stage.images for stage in self.stages))

    @property
    def work_an_epoch(self) -> float:
        """The same for one epoch; the mean over all stages."""
        return self.work / sum(stage.epochs for stage in self.stages)


@dataclass(frozen=True)
class Plan:
    """A request, expanded.

    Attributes:
        broken: methods that the request names and that cannot be used, each with the reason.
        skipped: methods that cannot be used either, but that the request does not name; and methods that need pixels,
            where the recipe has none.
    """

    request: Request
    suite: Suite
    cells: tuple[Planned, ...]
    broken: Mapping[str, str]
    skipped: Mapping[str, str]


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
    asked, broken = _asked(suite, registry)
    chains, unfit = _fitting([registry.chain(*one) for one in asked], suite.recipe)
    recipes = _recipes(suite, request)
    sets = _image_sets(recipes, request, library, {method.branches for chain in chains for _, method in chain})
    counts = {(name, i): _counts(sets[name][0], i, suite.holdout) for name in suite.datasets for i in suite.imbalance}

    def cells_of(seeds: tuple[int, ...]) -> "list[tuple[Cell, tuple[Method, ...]]]":
        places = list(itertools.product(suite.subset_seeds, seeds, suite.datasets, suite.imbalance))
        cells = [
            _cell(suite, recipe, sets[place[2]][0], place, chain)
            for place in places
            for recipe in recipes[place[2]]
            for chain in chains
        ]
        for chosen in request.variants:
            chain = registry.chain(chosen.method, chosen.hyperparameters)
            at = [place for place in places if (place[2], str(place[3])) == (chosen.dataset, chosen.imbalance)]
            cells += [_cell(suite, recipes[p[2]][0], sets[p[2]][0], p, chain, chosen) for p in at]
        return cells

    cells = cells_of(suite.seeds)
    further = suite.further_seeds if request.seeds is None else ()
    cells += [(cell, methods) for cell, methods in cells_of(further) if _is_control(cell, cells)]
    planned = {  # two entries of a suite may name the same cell
        (cell.id, cell.trial): Planned(cell, methods, *sets[cell.dataset], counts[cell.dataset, cell.imbalance])
        for cell, methods in cells
    }
    skipped = {name: why for name, why in registry.broken.items() if name not in broken}
    return Plan(request, suite, tuple(planned.values()), broken, skipped | unfit)


def _fitting(
    chains: "list[list[tuple[Entry, Method]]]", recipe: Recipe
) -> "tuple[list[list[tuple[Entry, Method]]], dict[str, str]]":
    """The chains that a recipe can train, and why it cannot train the others, by method.

    Raises:
        InputError: when none is left.
    """
    needs = {chain[-1][0].name: why for chain in chains for _, m in chain if recipe.frozen and (why := m.needs_pixels)}
    unfit = {name: f"{name} {why}, and this recipe trains on features" for name, why in needs.items()}
    fit = [chain for chain in chains if chain[-1][0].name not in unfit]
    if unfit and not fit:
        raise InputError(f"no method is left: {'; '.join(unfit.values())}; name other --methods", "methods")
    return fit, unfit


def _is_control(cell: Cell, cells: "Iterable[tuple[Cell, tuple[Method, ...]]]") -> bool:
    """Whether other methods of a plan are compared with a cell: those that were tuned by as many trials, if any."""
    rows = {other.entry for other, _ in cells if other.control == cell.control}
    return cell.entry == cell.control and len(rows) > 1


def _recipes(suite: Suite, request: Request) -> dict[str, tuple[Recipe, ...]]:
    """The recipes of each data set: one for each backbone that is compared, all of them on the same pixels.

    Raises:
        InputError: for an unknown backbone and for weights that are not there.
    """
    from ltbench.models import check_backbone

    backbones = list(_backbones(request))
    for values in backbones or [{"backbone": suite.recipe.backbone}]:
        check_backbone(values["backbone"])
    found = {}
    for name in suite.datasets:
        first = suite.recipe.fitted(functools.partial(native_side, name, request.data))
        found[name] = (first, *(first.changed(values) for values in backbones[1:]))
    if len(backbones) > 1 and not all(recipe.pretrained for recipes in found.values() for recipe in recipes):
        raise InputError(
            "several backbones share a table only with recipe.pretrained; otherwise run each backbone by itself",
            "backbone",
        )
    return found


def _backbones(request: Request) -> Iterator[dict[str, Any]]:
    """The backbones that ``recipe.backbone`` names, each with its weights if ``recipe.pretrained`` is set too."""
    names, files = (_listed(request.changes.get(f"recipe.{key}", ())) for key in ("backbone", "pretrained"))
    if len(files) not in (0, 1, len(names)) and names:
        raise InputError(
            f"recipe.backbone has {len(names)} names and recipe.pretrained {len(files)} values; give true, or one file "
            "for each backbone",
            "pretrained",
        )
    if len(names) > 1 and len(files) == 1 and files[0] is not True:
        raise InputError("one file of weights cannot fit several backbones; give one file for each", "pretrained")
    for name, file in zip(names, files * len(names) if len(files) == 1 else files or (None,) * len(names), strict=True):
        yield {"backbone": name} | ({} if file is None else {"pretrained": file})


def _listed(value: Any) -> tuple[Any, ...]:
    """The values of a setting that may have several, separated by commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _image_sets(
    recipes: Mapping[str, Sequence[Recipe]], request: Request, library: Library, branches: set[int]
) -> dict[str, tuple[ImageSet, WaitingSplit | None]]:
    """The data sets of a plan with their test splits, once it is known that the backbones take their images."""
    sets = {name: library.images(name, of_set[0], request.data) for name, of_set in recipes.items()}
    for name, (images, _) in sets.items():
        height, width, channels = images.train.images.shape[1:]
        for recipe, n in itertools.product(recipes[name], (1,) if recipes[name][0].frozen else sorted(branches)):
            weights = recipe.weights.file if recipe.weights else None
            _check_images(recipe.backbone, channels, recipe.input_size(height, width), n, weights)
    return {name: (images, None) for name, (images, _) in sets.items()} if request.without_test else sets


@functools.cache
def _check_images(backbone: str, channels: int, size: tuple[int, int], branches: int, weights: Path | None) -> None:
    """Raises InputError where a backbone with so many branches does not take images of H x W = ``size``."""
    from ltbench.models.network import initialised_backbone

    initialised_backbone(backbone, channels, size, [0] * branches, weights)


def _cell(
    suite: Suite,
    base: Recipe,
    images: ImageSet,
    place: tuple[int, int, str, Imbalance],
    chain: "list[tuple[Entry, Method]]",
    chosen: Variant | None = None,
) -> "tuple[Cell, tuple[Method, ...]]":
    """The cell of a chain of methods at a place (subset seed, seed, data set, imbalance), with those methods.

    Args:
        base: the recipe of the place; ``chosen`` may change it.
    """
    subset_seed, seed, dataset, imbalance = place
    own = chain[-1][1]
    changed = {k: v for k, v in own.hyperparameters.items() if v != own.space()[k].default}
    recipe = base.changed(chosen.recipe) if chosen else base
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
        compared_under=suite.recipe.label,
        pieces={name: value for entry, _ in chain for name, value in entry.pieces.items()},
    )
    return cell, tuple(method for _, method in chain)


def _asked(suite: Suite, registry: "Registry") -> tuple[list[tuple[str, Mapping[str, Any]]], dict[str, str]]:
    """The methods that a suite names, each with its hyper-parameters, and the named ones that are broken.

    An entry is a name or pattern, or ``NAME(KEY=VALUE, ...)`` for a variant with other hyper-parameters.

    Raises:
        InputError: for an entry that is neither, and for a name that does not exist.
    """
    plain = [asked for asked in suite.methods if "(" not in asked]
    names, broken = registry.match(plain)
    found: list[tuple[str, Mapping[str, Any]]] = [(name, suite.hyperparameters.get(name, {})) for name in names]
    for asked in suite.methods:
        if "(" in asked:
            parts = re.fullmatch(r"([^()\s]+)\s*\(([^()]*)\)", asked.strip())
            pairs = [pair.partition("=") for pair in parts[2].split(",")] if parts else []
            if parts is None or not all(equals and value.strip() for _, equals, value in pairs):
                raise InputError(f"method entry '{asked}' is not understood; write NAME or NAME(KEY=VALUE, ...)", asked)
            changes = {key.strip(): parse_value(value.strip()) for key, _, value in pairs}
            names, also_broken = registry.match([parts[1]])
            broken |= also_broken
            found += [(name, {**suite.hyperparameters.get(name, {}), **changes}) for name in names]
    return found, broken


def _resolved(suite: Suite, request: Request, registry: "Registry") -> Suite:
    """The suite with the changes of a request."""
    recipe: dict[str, Any] = {}
    hyperparameters = {name: dict(values) for name, values in suite.hyperparameters.items()}
    values: dict[str, Any] = {}
    for key, value in request.changes.items():
        part, _, name = key.partition(".")
        if part == "recipe" and name:
            recipe[name] = value
        elif key == "subset_seed":
            if request.subset_seeds is not None:
                raise InputError("subset_seed and --subset-seeds are both given; remove one", key)
            values["subset_seeds"] = (value,)
        elif not name and part in SETTABLE:
            values[part] = value
        elif name and part in registry:
            hyperparameters.setdefault(part, {})[name] = value
        else:
            known = [*SETTABLE, *(f"recipe.{f}" for f in Recipe.model_fields), *(f"{m}.…" for m in registry)]
            raise unknown("setting", key, known, "allowed: recipe.FIELD, METHOD.HYPERPARAMETER, " + ", ".join(SETTABLE))
    for name, chosen in hyperparameters.items():
        if name not in registry and name not in registry.broken:
            raise unknown("method", name, registry)
        if name in registry:
            registry[name].method(**chosen)
    for key in ("methods", "datasets", "imbalance", "seeds", "subset_seeds"):
        if getattr(request, key) is not None:
            values[key] = getattr(request, key)
    if request.natural_by_default:
        values["imbalance"] = ("natural",)
    recipe |= next(_backbones(request), {})
    if recipe:
        values["recipe"] = suite.recipe.changed(recipe)
    return suite.changed(**values, hyperparameters=hyperparameters)


def _counts(images: ImageSet, imbalance: Imbalance, holdout: int) -> tuple[int, ...]:
    available = [n - holdout for n in images.train.counts(len(images.classes))]
    if min(available) < 1:
        raise InputError(f"holdout of {holdout} images per class leaves a class of {images.name} empty; lower it")
    return tuple(class_counts(available, imbalance))

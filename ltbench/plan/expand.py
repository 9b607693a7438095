"""What a request comes to: its suite expanded into cells, with everything checked before anything is trained."""

import itertools
import re
import shlex
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ltbench.data import ImageSet, Imbalance, class_counts, load
from ltbench.data.sources import check_name
from ltbench.errors import InputError, unknown
from ltbench.plan.cell import Cell, Link
from ltbench.plan.recipe import Recipe
from ltbench.plan.suite import Suite, load_suite
from ltbench.results.store import Record

if TYPE_CHECKING:
    from ltbench.method.contract import Method
    from ltbench.method.registry import Entry, Registry

SETTABLE = ("holdout", "subset_seed", "shots")
"""Keys of a suite, besides the recipe's, that ``--set`` may change."""


@dataclass(frozen=True)
class Variant:
    """A method with values that were chosen for it at one place of a suite.

    Attributes:
        dataset, imbalance: where, as suites write them.
        method: name.
        hyperparameters: of the method.
        recipe: changes to the suite's recipe, under whose name its results stand all the same.
        trials, trial: see `Cell`.
    """

    dataset: str
    imbalance: str
    method: str
    hyperparameters: Mapping[str, Any]
    recipe: Mapping[str, Any]
    trials: int = 0
    trial: int | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Data set and imbalance."""
        return self.dataset, self.imbalance


@dataclass(frozen=True)
class Request:
    """What a run was asked for, on the command line or from Python. None: as the suite says.

    Attributes:
        suite: name of a suite, or path of its file.
        methods: names or patterns.
        datasets: names.
        imbalance: ``100``, ``exp:100``, ``step:10``, ``natural``.
        seeds: training seeds.
        subset_seeds: which images survive the cut; each by itself.
        changes: ``recipe.epochs``, ``holdout``, ``METHOD.hyperparameter``, ... to their values.
        data: place of a data set's images, by name.
        methods_dirs: further folders with methods.
        variants: methods with chosen values, besides the suite's cells.
        without_test: no test split is to be within reach of a method; results are of the validation split.
    """

    suite: str = "quickstart"
    methods: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    imbalance: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    methods_dirs: tuple[Path, ...] = ()
    variants: tuple[Variant, ...] = ()
    without_test: bool = False
    subset_seeds: tuple[int, ...] | None = None

    def command(self, cell: Cell) -> str:
        """The command that repeats one cell."""
        words = [
            "ltbench",
            "run",
            "--suite",
            self.suite,
            "--datasets",
            cell.dataset,
            "--imbalance",
            str(cell.imbalance),
        ]
        words += ["--methods", *([cell.method, "--tuned"] if cell.trials else [cell.entry]), "--seeds", f"{cell.seed},"]
        words += ["--subset-seeds", f"{cell.subset_seed},"]
        changes = {key: value for key, value in self.changes.items() if key != "subset_seed"}
        words += [w for key, value in changes.items() for w in ("--set", f"{key}={_toml(value)}")]
        words += [w for name, place in self.data.items() for w in ("--data", f"{name}={place}")]
        words += [w for folder in self.methods_dirs for w in ("--methods-dir", str(folder))]
        return shlex.join(words)


@dataclass(frozen=True)
class Planned:
    """A cell with what is needed to train it."""

    cell: Cell
    methods: "tuple[Method, ...]"
    images: ImageSet
    counts: tuple[int, ...]

    @cached_property
    def stages(self) -> "tuple[PlannedStage, ...]":
        """All stages of its chain, in order."""
        from ltbench.engine.train import stage_epochs

        return tuple(
            PlannedStage(
                self.cell.stage_id(number, index),
                stage_epochs(stage, self.cell.recipe),
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
        """The same, of one epoch; the mean of all stages."""
        return self.work / sum(stage.epochs for stage in self.stages)


class PlannedStage(NamedTuple):
    """A stage of a cell: its identity, its length, and the images that an epoch of it passes through the network."""

    id: str
    epochs: int
    images: int


@dataclass(frozen=True)
class Plan:
    """What a request comes to.

    Attributes:
        broken: methods that were asked for by name and cannot be used, each with the reason.
        skipped: the same for those that were not asked for.
    """

    request: Request
    suite: Suite
    cells: tuple[Planned, ...]
    broken: Mapping[str, str]
    skipped: Mapping[str, str]


def make_plan(request: Request) -> Plan:
    """Expand a request, checking everything that can be checked before training. Writes nothing.

    Raises:
        InputError: when anything in it is wrong.
    """
    from ltbench.method.registry import discover
    from ltbench.models import check_backbone
    from ltbench.models.network import initialised_backbone

    registry = discover(request.methods_dirs)
    suite = _resolved(load_suite(request.suite), request, registry)
    for name in suite.datasets:
        check_name(name)
    variants, broken = _variants(suite, registry)
    check_backbone(suite.recipe.backbone)
    chains = [registry.chain(*variant) for variant in variants]
    sets = {name: load(name, suite.recipe.image_size, request.data) for name in suite.datasets}
    if request.without_test:
        sets = {name: images.without_test() for name, images in sets.items()}
    for images in sets.values():
        height, width, channels = images.train.images.shape[1:]
        size = suite.recipe.input_size(height, width)
        for branches in sorted({method.branches for chain in chains for _, method in chain}):
            initialised_backbone(suite.recipe.backbone, channels, size, seeds=[0] * branches)
    kept = {(name, i): _counts(sets[name], i, suite.holdout) for name in suite.datasets for i in suite.imbalance}

    def planned(
        subset_seed: int,
        seed: int,
        dataset: str,
        imbalance: Imbalance,
        chain: "list[tuple[Entry, Method]]",
        chosen: Variant | None = None,
    ) -> Planned:
        methods = tuple(method for _, method in chain)
        links = tuple(Link(entry.name, entry.source, method.hyperparameters) for entry, method in chain)
        own = methods[-1]
        changed = {k: v for k, v in own.hyperparameters.items() if v != own.space()[k].default}
        recipe = suite.recipe.changed(chosen.recipe) if chosen else suite.recipe
        changed |= {f"recipe.{k}": v for k, v in recipe.model_dump().items() if v != getattr(suite.recipe, k)}
        images = sets[dataset]
        cell = Cell(
            dataset=dataset,
            label=images.name,
            fingerprint=images.fingerprint,
            imbalance=imbalance,
            subset_seed=subset_seed,
            holdout=suite.holdout,
            shots=suite.shots,
            chain=links,
            changed=changed,
            recipe=recipe,
            seed=seed,
            trials=chosen.trials if chosen else 0,
            trial=chosen.trial if chosen else None,
            compared_under=suite.recipe.label,
        )
        return Planned(cell, methods, images, kept[dataset, imbalance])

    places = list(itertools.product(suite.subset_seeds, suite.seeds, suite.datasets, suite.imbalance))
    every = [planned(*place, chain) for place in places for chain in chains]
    for chosen in request.variants:
        chain = registry.chain(chosen.method, chosen.hyperparameters)
        every += [planned(*place, chain, chosen) for place in places if (place[2], str(place[3])) == chosen.place]
    cells = tuple({(one.cell.id, one.cell.trial): one for one in every}.values())  # two entries may come to the same
    skipped = {name: why for name, why in registry.broken.items() if name not in broken}
    return Plan(request, suite, cells, broken, skipped)


def _variants(suite: Suite, registry: "Registry") -> tuple[list[tuple[str, Mapping[str, Any]]], dict[str, str]]:
    """The methods that a suite asks for, each with its hyper-parameters, and those asked for by name that are broken.

    An entry is a name or pattern, or ``NAME(KEY=VALUE, ...)`` for a variant with hyper-parameters of its own.

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
    """The suite with what the request changes."""
    recipe: dict[str, Any] = {}
    hyperparameters = {name: dict(values) for name, values in suite.hyperparameters.items()}
    values: dict[str, Any] = {}
    for key, value in request.changes.items():
        part, _, name = key.partition(".")
        if part == "recipe" and name:
            recipe[name] = value
        elif key == "subset_seed":
            if request.subset_seeds is not None:
                raise InputError("subset_seed and --subset-seeds are both given; leave one out", key)
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
    if recipe:
        values["recipe"] = suite.recipe.changed(recipe)
    return suite.changed(**values, hyperparameters=hyperparameters)


def _counts(images: ImageSet, imbalance: Imbalance, holdout: int) -> tuple[int, ...]:
    available = [n - holdout for n in images.train.counts(len(images.classes))]
    if min(available) < 1:
        raise InputError(f"holdout of {holdout} images a class leaves a class of {images.name} empty; lower it")
    return tuple(class_counts(available, imbalance))


def estimate_seconds(plan: Plan, records: Mapping[str, Record]) -> float | None:
    """Training time of what is missing, from the speed that earlier cells had; None where there are none to go by.

    Args:
        plan: what is asked for.
        records: by id, from the store.
    """

    def kind(recipe: Mapping[str, Any], image: Sequence[int]) -> tuple[Any, ...]:
        return recipe["backbone"], recipe["precision"], recipe.get("resized_crop"), *image

    speeds: dict[tuple[Any, ...], list[float]] = {}
    for record in records.values():
        if record["status"] == "done":
            known = speeds.setdefault(kind(record["settings"]["recipe"], record["image"]), [])
            known.append(record["cost"]["images_per_second"] * record["cost"].get("runs_together", 1))
    seconds: dict[str, float] = {}
    for planned in missing(plan, records):
        like = kind(planned.cell.recipe.identity(), planned.images.train.images.shape[1:])
        if like not in speeds:
            return None
        for stage in planned.stages:  # one that several cells share is trained once
            seconds[stage.id] = stage.epochs * stage.images / statistics.median(speeds[like])
    return sum(seconds.values())


def missing(plan: Plan, records: Mapping[str, Record]) -> list[Planned]:
    """The cells of a plan that have no finished record."""
    return [planned for planned in plan.cells if records.get(planned.cell.id, {}).get("status") != "done"]


def parse_value(text: str) -> Any:
    """The value of ``--set KEY=VALUE``: as TOML writes it, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(list(value) if isinstance(value, tuple) else value)

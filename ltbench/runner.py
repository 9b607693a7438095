"""What a request comes to: its suite expanded into cells, with everything checked before anything is trained."""

import shlex
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.cell import Cell, Link
from ltbench.data import ImageSet, Imbalance, class_counts, load
from ltbench.data.sources import check_name
from ltbench.errors import InputError, unknown
from ltbench.recipe import Recipe
from ltbench.store import Record
from ltbench.suite import Suite, load_suite

if TYPE_CHECKING:
    from ltbench.method import Method
    from ltbench.registry import Registry

SETTABLE = ("holdout", "subset_seed", "shots")
"""Keys of a suite, besides the recipe's, that ``--set`` may change."""


@dataclass(frozen=True)
class Request:
    """What a run was asked for, on the command line or from Python. None: as the suite says.

    Attributes:
        suite: name of a suite, or path of its file.
        methods: names or patterns.
        datasets: names.
        imbalance: ``100``, ``exp:100``, ``step:10``, ``natural``.
        seeds: training seeds.
        changes: ``recipe.epochs``, ``holdout``, ``METHOD.hyperparameter``, ... to their values.
        data: place of a data set's images, by name.
        methods_dirs: further folders with methods.
    """

    suite: str = "quickstart"
    methods: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    imbalance: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    methods_dirs: tuple[Path, ...] = ()

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
        words += ["--methods", cell.method, "--seeds", f"{cell.seed},"]
        words += [w for key, value in self.changes.items() for w in ("--set", f"{key}={_toml(value)}")]
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

    @property
    def work(self) -> float:
        """Images passed through the network, over all stages."""
        from ltbench.engine.train import stage_epochs

        passes = sum(len(m.streams) * stage_epochs(s, self.cell.recipe) for m in self.methods for s in m.stages())
        return float(passes * sum(self.counts))


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
    from ltbench.models import check_backbone
    from ltbench.models.network import initialised_backbone
    from ltbench.registry import discover

    registry = discover(request.methods_dirs)
    suite = _resolved(load_suite(request.suite), request, registry)
    for name in suite.datasets:
        check_name(name)
    names, broken = registry.match(suite.methods)
    check_backbone(suite.recipe.backbone)
    sets = {name: load(name, suite.recipe.image_size, request.data) for name in suite.datasets}
    for images in sets.values():
        height, width, channels = images.train.images.shape[1:]
        initialised_backbone(suite.recipe.backbone, channels, suite.recipe.input_size(height, width), seed=0)
    kept = {(name, i): _counts(sets[name], i, suite.holdout) for name in suite.datasets for i in suite.imbalance}
    chains = {name: registry.chain(name, suite.hyperparameters.get(name, {})) for name in names}

    def planned(seed: int, dataset: str, imbalance: Imbalance, name: str) -> Planned:
        methods = tuple(method for _, method in chains[name])
        links = tuple(Link(entry.name, entry.source, method.hyperparameters) for entry, method in chains[name])
        own = methods[-1]
        changed = {k: v for k, v in own.hyperparameters.items() if v != own.space()[k].default}
        images = sets[dataset]
        cell = Cell(
            dataset=dataset,
            label=images.name,
            fingerprint=images.fingerprint,
            imbalance=imbalance,
            subset_seed=suite.subset_seed,
            holdout=suite.holdout,
            shots=suite.shots,
            chain=links,
            changed=changed,
            recipe=suite.recipe,
            seed=seed,
        )
        return Planned(cell, methods, images, kept[dataset, imbalance])

    cells = tuple(
        planned(s, d, i, m) for s in suite.seeds for d in suite.datasets for i in suite.imbalance for m in names
    )
    skipped = {name: why for name, why in registry.broken.items() if name not in broken}
    return Plan(request, suite, cells, broken, skipped)


def _resolved(suite: Suite, request: Request, registry: "Registry") -> Suite:
    """The suite with what the request changes."""
    recipe: dict[str, Any] = {}
    hyperparameters = {name: dict(values) for name, values in suite.hyperparameters.items()}
    values: dict[str, Any] = {}
    for key, value in request.changes.items():
        part, _, name = key.partition(".")
        if part == "recipe" and name:
            recipe[name] = value
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
    for key in ("methods", "datasets", "imbalance", "seeds"):
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
            known.append(record["cost"]["images_per_second"])
    seconds = 0.0
    for planned in plan.cells:
        if records.get(planned.cell.id, {}).get("status") != "done":
            like = kind(planned.cell.recipe.identity(), planned.images.train.images.shape[1:])
            if like not in speeds:
                return None
            seconds += planned.work / statistics.median(speeds[like])
    return seconds


def parse_value(text: str) -> Any:
    """The value of ``--set KEY=VALUE``: as TOML writes it, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(list(value) if isinstance(value, tuple) else value)

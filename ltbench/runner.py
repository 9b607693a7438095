"""A suite to cells, cells to records: what is missing is trained, what is there is left alone."""

import functools
import shlex
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.cell import Cell, Link, digest
from ltbench.data import ImageSet, Imbalance, class_counts, cut, load
from ltbench.data.sources import check_name
from ltbench.errors import InputError, unknown
from ltbench.progress import Reporter, Silent
from ltbench.recipe import Recipe
from ltbench.store import Record, Store
from ltbench.suite import Suite, load_suite

if TYPE_CHECKING:
    import pandas as pd

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
        initialised_backbone(suite.recipe.backbone, channels, (height, width), seed=0)
    kept = {(name, i): _counts(sets[name], i, suite.holdout) for name in suite.datasets for i in suite.imbalance}
    chains = {name: registry.chain(name, suite.hyperparameters.get(name, {})) for name in names}

    def planned(seed: int, dataset: str, imbalance: Imbalance, name: str) -> Planned:
        methods = tuple(method for _, method in chains[name])
        links = tuple(
            Link(entry.name, entry.source, method.hyperparameters, len(method.stages()))
            for entry, method in chains[name]
        )
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


def execute(
    plan: Plan,
    store: Store,
    device: str = "auto",
    checkpoint_every_s: float = 30.0,
    reporter: Reporter | None = None,
) -> None:
    """Train every cell of a plan that has no finished record, one after another.

    A cell that another process has in hand is left to it. A cell that fails becomes a record with the reason, and the
    others go on.

    Raises:
        InputError: when the device is not there or the results folder cannot be written.
    """
    from ltbench.engine.process import device_of, prepare

    on_device = device_of(device)
    store.prepare()
    prepare()
    ids = [planned.cell.id for planned in plan.cells]
    described = [{"id": p.cell.id, "row": p.cell.row, **p.cell.describe(), "shots": p.cell.shots} for p in plan.cells]
    store.add_plan(f"{plan.suite.name}-{digest(ids)}", {"suite": plan.suite.name, "cells": described})
    before = {record["id"]: record for record in store.attempts()}
    todo = [p for p in plan.cells if before.get(p.cell.id, {}).get("status") != "done"]
    listen = reporter or Silent()
    data = functools.lru_cache(maxsize=4)(cut)

    def work(planned: Planned) -> Record:
        from ltbench.execute import header, run_cell

        cell = planned.cell
        try:
            subset = data(planned.images, cell.imbalance, cell.subset_seed, cell.holdout)
            record = run_cell(cell, planned.methods, subset, store, on_device, checkpoint_every_s, listen.epoch)
        except Exception as error:  # a cell that fails takes no other down
            text = str(error).splitlines()[0] if str(error) else ""
            reason = text if type(error).__name__ == "TrainingFailed" else f"{type(error).__name__}: {text}"
            record = header(cell) | {"status": "failed", "reason": reason}
        return record | {"suite": plan.suite.name, "command": plan.request.command(cell)}

    with listen:
        listen.begin(len(todo), sum(p.work for p in todo))
        while todo:
            left = [p for p in todo if not _attempt(p, store, before, work, listen)]
            if len(left) == len(todo):
                time.sleep(0.2)  # all that is left is in the hands of other processes
            todo = left


def _attempt(
    planned: Planned,
    store: Store,
    before: Mapping[str, Record],
    work: Callable[[Planned], Record],
    listen: Reporter,
) -> bool:
    """Train a cell unless another process has it; True when it has a record of this run."""
    cell = planned.cell
    lock = store.try_lock(cell.id)
    if lock is None:
        return False
    with lock:
        found = store.latest(cell.id).get(cell.id)
        if found is None or found == before.get(cell.id):
            listen.cell(str(cell))
            found = work(planned)
            store.add(found)
    listen.finished(str(cell), outcome(found), planned.work)
    return True


def outcome(record: Record) -> str:
    """One line on how a cell ended."""
    if record["status"] == "failed":
        return f"FAILED: {record['reason']}"
    cost, last = record["cost"], record["protocols"]["last"]
    few = "" if last["few"] is None else f", few {last['few']:.1f} %"
    reused = f", {cost['reused_seconds']:.1f} s of it reused" if cost["reused_seconds"] else ""
    return f"{last['balanced_accuracy']:.1f} %{few}, trained {cost['train_seconds']:.1f} s{reused}"


def estimate_seconds(plan: Plan, store: Store) -> float | None:
    """Training time of what is missing, from the speed that earlier cells had; None where there are none to go by."""
    records = store.latest()
    speeds: dict[str, list[float]] = {}
    for record in records.values():
        if record["status"] == "done":
            speeds.setdefault(record["settings"]["recipe"]["backbone"], []).append(record["cost"]["images_per_second"])
    known = sorted(speeds.get(plan.suite.recipe.backbone, []))
    if not known:
        return None
    missing = sum(p.work for p in plan.cells if records.get(p.cell.id, {}).get("status") != "done")
    return missing / known[len(known) // 2]


def run(
    suite: str = "quickstart",
    *,
    methods: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    imbalance: Sequence[str | float] | None = None,
    seeds: int | Sequence[int] | None = None,
    changes: Mapping[str, Any] | None = None,
    data: Mapping[str, str] | None = None,
    methods_dirs: Sequence[Path | str] = (),
    results: Path | str = "results",
    device: str = "auto",
) -> "pd.DataFrame":
    """Run what is missing of a suite, as ``ltbench run`` does.

    Args:
        suite: name of a suite, or path of its file.
        methods: names or patterns, in place of the suite's; and so on for data sets, imbalances and seeds.
        datasets: names.
        imbalance: ``100``, ``"step:10"``, ``"natural"``.
        seeds: how many from 0 on, or which.
        changes: as ``--set``: ``{"recipe.epochs": 5, "focal.gamma": 2.0}``.
        data: place of a data set's images, by name.
        methods_dirs: further folders with methods.
        results: the results folder.
        device: ``auto``, ``cpu``, ``cuda``.

    Returns:
        One row a cell, finished or failed (see ``load_results``). ``ltbench.leaderboard`` makes the table of it.

    Raises:
        InputError: when anything asked for is wrong; then nothing was written.
    """
    from ltbench.frames import load_results

    request = Request(
        suite,
        tuple(methods) if methods is not None else None,
        tuple(datasets) if datasets is not None else None,
        tuple(str(x) for x in imbalance) if imbalance is not None else None,
        tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds) if seeds is not None else None,
        dict(changes or {}),
        dict(data or {}),
        tuple(Path(folder) for folder in methods_dirs),
    )
    plan = make_plan(request)
    if plan.broken:
        raise InputError("; ".join(plan.broken.values()))
    store = Store(results)
    execute(plan, store, device)
    return load_results(results, cells={planned.cell.id for planned in plan.cells})


def parse_value(text: str) -> Any:
    """The value of ``--set KEY=VALUE``: as TOML writes it, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(list(value) if isinstance(value, tuple) else value)

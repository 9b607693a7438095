"""Hyper-parameters chosen on validation images: one Optuna study per method x data set x imbalance x recipe.

Every method gets the same number of trials. A trial is a cell like any other, trained on what is left of the training
images when a balanced validation set is put aside; the processes that train it have no test split. Besides the method's
own ranges, all methods search the learning rate and the weight decay on the same grid, and their first trials visit the
same points of it, so that methods which begin alike share those stages.

A trial that was asked for stands in the journal of its study. Whoever comes next trains what the store lacks of it: a
kill costs nothing, and several processes work on the same studies without knowing of each other.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ltbench.data import ImageSet
from ltbench.errors import InputError
from ltbench.plan.expand import Plan, Planned, Request, Variant, make_plan
from ltbench.results.store import Record, Store
from ltbench.runner.progress import Reporter
from ltbench.runner.workers import Settings, execute
from ltbench.tuning.study import KNOBS, Journal, Study, ask, space_as_text, space_of, tell, values_of, whole

FIRST_SEED = 1000
"""Training seed of trials; final runs count from 0, so theirs are fresh."""
ATTEMPTS = 2
"""So often is a training tried whose process died."""


@dataclass(frozen=True)
class Budget:
    """What every method gets.

    Attributes:
        trials: of each study.
        seeds: trainings of a trial, each with a training seed of its own. A trial whose mean is below the median of the
            others gets no further one. A training is never cut short, since many methods gain late.
        sampler_seed: of Optuna's sampler.
    """

    trials: int = 20
    seeds: int = 1
    sampler_seed: int = 0


def tune(
    searches: "list[tuple[Request, list[Search]]]",
    results: Path,
    budget: Budget,
    settings: Settings | None = None,
    reporter: Reporter | None = None,
) -> list[Study]:
    """Give every method of a request the same number of trials, on each of its data sets and imbalances.

    Args:
        searches: from ``prepare``.
        results: the results folder; all goes into ``tuning`` below it.
        budget: what every method gets.
        settings: how trials are executed.
        reporter: hears of each training.

    Returns:
        The studies.

    Raises:
        InputError: for a study that was begun with other facts.
    """
    folder = results / "tuning"
    Store(folder).prepare()
    found = []
    for request, mine in searches:
        _tune(request, mine, folder, budget, settings or Settings(), reporter)
        found += [Journal(folder, search.name).read() for search in mine]
    return found


def finished(searches: "list[tuple[Request, list[Search]]]", results: Path, budget: Budget) -> bool:
    """Whether ``tune`` has nothing to train; raises InputError for a journal that cannot be read."""
    journals = [Journal(results / "tuning", search.name) for _, mine in searches for search in mine]
    return all(journal.begun and journal.read().ended >= budget.trials for journal in journals)


def winners(request: Request, results: Path) -> tuple[Variant, ...]:
    """The best values that were found for each method of a request, on each of its data sets and imbalances.

    Raises:
        InputError: where a method was not tuned, is still being tuned, changed since, or had another number of trials
            than the others.
    """
    found: list[tuple[Study, Variant]] = []
    for search in (search for _, searches in prepare(request, Budget()) for search in searches):
        journal = Journal(results / "tuning", search.name)
        again = f"ltbench tune --suite {request.suite} --methods {search.planned.cell.method}"
        if not journal.begun:
            raise InputError(f"study '{search.name}' does not exist in {results}; make it with {again}", search.name)
        study = journal.read()
        if any(study.facts[key] != search.facts[key] for key in ("fingerprint", "sources", "space", "settings")):
            raise InputError(f"study '{search.name}' is of another state of the method, images or recipe; {again}")
        if study.best is None or study.ended < len(study.trials):
            raise InputError(f"study '{search.name}' is not finished; go on with {again}", search.name)
        best = study.source.get_trials(deepcopy=False)[study.best["number"]]
        own, shared = values_of(best.params, study.facts["knobs"])
        found.append((study, replace(search.variant(own, shared), trials=study.ended)))
    if len({study.ended for study, _ in found}) > 1:
        least, most = (end(found, key=lambda one: one[0].ended)[0] for end in (min, max))
        raise InputError(
            f"budgets differ: '{least.name}' had {least.ended} trials, '{most.name}' {most.ended}; "
            f"ltbench tune --suite {request.suite} --trials {most.ended} evens them"
        )
    return tuple(variant for _, variant in found)


@dataclass(frozen=True, eq=False)
class Search:
    """A method at one place of a suite: what is searched, and which study it is.

    Attributes:
        planned: its cell with the values that nothing has chosen.
        facts: what decides the study's numbers, as JSON values.
        space: Optuna's distributions.
    """

    planned: Planned
    facts: dict[str, Any]
    space: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the study, and of its file."""
        cell = self.planned.cell
        parts = (cell.label, str(cell.imbalance), cell.describe()["recipe"], cell.method)
        return "--".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts)

    @property
    def key(self) -> tuple[str, str, str]:
        """Data set, imbalance and method."""
        cell = self.planned.cell
        return cell.dataset, str(cell.imbalance), cell.method

    @property
    def defaults(self) -> dict[str, Any]:
        """Of all that is searched: the recipe's and the method's own values."""
        values = self.planned.methods[-1].hyperparameters
        return {name: values.get(name, 0) for name in self.space}

    def variant(self, own: Mapping[str, Any], shared: Mapping[str, Any], trial: int | None = None) -> Variant:
        """Its method with these hyper-parameters, under a recipe with these changes."""
        dataset, imbalance, method = self.key
        return Variant(dataset, imbalance, method, {**self.facts["fixed"], **own}, shared, trial=trial)


def prepare(request: Request, budget: Budget) -> list[tuple[Request, list[Search]]]:
    """For each data set of a request, the request that its trials are trained under, and what is searched there.

    Args:
        request: as for a run; its seeds are not used.
        budget: what every method gets.

    Raises:
        InputError: for anything that is wrong in the request.
    """
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + budget.seeds))
    request = replace(request, seeds=seeds, without_test=True)
    whole_suite = make_plan(request)
    if whole_suite.broken:
        raise InputError("; ".join(whole_suite.broken.values()))
    if variant := next((name for name in whole_suite.suite.methods if "(" in name), None):
        raise InputError(f"method entry '{variant}' has values of its own; tune plain names, fix values with --set")
    found = []
    for dataset in whole_suite.suite.datasets:
        images = next(planned.images for planned in whole_suite.cells if planned.cell.dataset == dataset)
        holdout = whole_suite.suite.holdout or validation_images(images)
        changes = {**request.changes, "holdout": holdout, "subset_seed": whole_suite.suite.subset_seeds[0]}
        mine = replace(request, datasets=(dataset,), changes=changes, subset_seeds=None)
        cells = [planned for planned in make_plan(mine).cells if planned.cell.seed == FIRST_SEED]
        found.append((mine, [_search(planned, whole_suite.suite.name, budget) for planned in cells]))
    return found


def validation_images(images: ImageSet) -> int:
    """Images a class to set aside: a twentieth of the smallest class, at least 20, at most a quarter of it.

    0 where the data set has a validation split of its own.

    Raises:
        InputError: when a class has fewer than 4 images.
    """
    if images.val is not None:
        return 0
    counts = images.train.counts(len(images.classes))
    smallest = min(counts)
    if smallest < 4:
        name = images.classes[counts.index(smallest)]
        raise InputError(
            f"class '{name}' of {images.name} has {smallest} images, too few to set some aside for tuning (4 are "
            "needed); give the data set a validation split (PATH/val/class/image)",
            name,
        )
    return min(max(20, smallest // 20), smallest // 4)


def _search(planned: Planned, suite: str, budget: Budget) -> Search:
    cell, method = planned.cell, planned.methods[-1]
    space = space_of(method, cell.recipe, cell.changed)
    facts = {
        "suite": suite,
        "method": cell.method,
        "dataset": cell.label,
        "imbalance": str(cell.imbalance),
        "recipe": cell.recipe.label,
        "fingerprint": cell.fingerprint,
        "subset_seed": cell.subset_seed,
        "holdout": cell.holdout,
        "seeds": budget.seeds,
        "sampler_seed": budget.sampler_seed,
        "settings": cell.recipe.identity(),
        "sources": {link.method: link.source for link in cell.chain},
        "space": space_as_text(space),
        "fixed": dict(cell.changed),
        "knobs": {knob: getattr(cell.recipe, knob) for knob in KNOBS},
    }
    return Search(planned, facts, space)


def _tune(
    request: Request,
    searches: list[Search],
    folder: Path,
    budget: Budget,
    settings: Settings,
    reporter: Reporter | None,
) -> None:
    """Bring the studies of one data set to their end."""
    store = Store(folder)
    abreast = math.ceil(2 * (settings.resolved(len(searches) * budget.trials).workers or 1) / len(searches))
    plan: Plan | None = None
    while True:
        waiting: list[Variant] = []
        records = store.latest()
        for search in searches:
            with Journal(folder, search.name).opened(search.facts, budget.sampler_seed) as study:
                if plan is not None:
                    for number, cells in _trials(plan, search).items():
                        tell(study, number, *_outcome(cells, records, store), seeds=budget.seeds)
                ask(study, search.space, search.defaults, budget.trials, abreast)
                under_way = [trial for trial in whole(study, search.space) if not trial.state.is_finished()]
            for trial in under_way:
                waiting.append(search.variant(*values_of(trial.params, search.facts["knobs"]), trial.number))
        if not waiting:
            return
        plan = make_plan(replace(request, variants=tuple(waiting)))
        execute(_next_trainings(plan, searches, records), store, settings, reporter)


def _trials(plan: Plan, search: Search) -> dict[int, list[Planned]]:
    """The cells of a study's trials, in the order of their seeds."""
    found: dict[int, list[Planned]] = {}
    for planned in plan.cells:
        cell = planned.cell
        if cell.trial is not None and (cell.dataset, str(cell.imbalance), cell.method) == search.key:
            found.setdefault(cell.trial, []).append(planned)
    return found


def _next_trainings(plan: Plan, searches: list[Search], records: Mapping[str, Record]) -> Plan:
    """Of every trial, the next training."""

    def undone(planned: Planned) -> bool:
        return records.get(planned.cell.id, {}).get("status") != "done"

    trials = [cells for search in searches for cells in _trials(plan, search).values()]
    return replace(plan, cells=tuple(next(filter(undone, cells), cells[-1]) for cells in trials))


def _outcome(cells: list[Planned], records: Mapping[str, Record], store: Store) -> tuple[list[float], float, str]:
    """Of a trial's trainings so far: the values, the seconds, and why one failed, if one did."""
    values: list[float] = []
    seconds = 0.0
    for planned in cells:
        record = records.get(planned.cell.id)
        if record is None:
            break
        if record["status"] != "done":
            again = record.get("died") and len(store.attempts(record["id"])) < ATTEMPTS
            return [] if again else values, seconds, "" if again else str(record["reason"])
        values.append(record["protocols"]["last"]["balanced_accuracy"])
        seconds += record["cost"]["train_seconds"]
    return values, seconds, ""

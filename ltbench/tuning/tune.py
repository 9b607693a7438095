"""Hyper-parameters chosen on validation images: one Optuna study per method x data set x imbalance x recipe.

Every method gets the same number of trials. A trial is a cell like any other, trained on the images that remain when a
balanced validation set is put aside; the processes that train it have no test split. Besides the method's own ranges,
all methods search the learning rate and the weight decay on the same grid, and their first trials visit the same points
of this grid, so that methods that begin alike share those stages.

A trial is written to the journal of its study before it is trained. Any process then trains the cells of the trials
that the store lacks: a kill loses nothing, and several processes can work on the same studies.
"""

import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ltbench.data import ImageSet
from ltbench.errors import Incomplete, InputError
from ltbench.method.entries import AFTER, DOUBLE, parse_entry
from ltbench.plan.expand import Library, Plan, Planned, make_plan
from ltbench.plan.request import Request, Variant
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter
from ltbench.runner.workers import trainer, without_record
from ltbench.runner.workload import missing
from ltbench.tuning.journal import Journal, ask, tell, whole
from ltbench.tuning.space import KNOBS, space_as_text, space_of, values_of
from ltbench.tuning.study import Study

FIRST_SEED = 1000
"""Training seed of trials; the seeds of final runs count from 0, so they are different."""
ATTEMPTS = 2
"""How often a training is tried if its process dies."""


@dataclass(frozen=True)
class Budget:
    """The same budget for every method.

    Attributes:
        trials: number of trials of each study.
        seeds: trainings of a trial, each with its own training seed. A trial whose mean is below the median of the
            others gets no further training. A training is never cut short, since many methods gain late.
        sampler_seed: seed of Optuna's sampler.
    """

    trials: int = 20
    seeds: int = 1
    sampler_seed: int = 0


def tune(
    searches: "list[tuple[Request, list[Search]]]",
    results: Path,
    budget: Budget,
    options: RunOptions,
    library: Library,
    reporter: Reporter | None = None,
) -> list[Study]:
    """Give every method of a request the same number of trials, on each of its data sets and imbalances.

    Args:
        searches: from ``prepare``.
        results: the results folder; tuning writes into its subfolder ``tuning``.
        budget: the same for every method.
        options: how trials are trained.
        library: the methods and images that ``prepare`` has loaded.
        reporter: follows the progress.

    Returns:
        The studies.

    Raises:
        InputError: for a study that was begun with other facts.
        Incomplete: when a training has no record.
    """
    folder = results / "tuning"
    store, found = Store(folder), []
    for request, mine in searches:
        resolved = options.resolved([search.planned for search in mine] * budget.trials)
        with trainer(store, resolved, library, reporter) as train:
            abreast = math.ceil(2 * train.workers / len(mine))
            _tune(request, mine, store, budget, library, abreast, train)
        found += [Journal(folder, search.name).read() for search in mine]
    return found


def finished(searches: "list[tuple[Request, list[Search]]]", results: Path, budget: Budget) -> bool:
    """Whether ``tune`` has nothing to train.

    Raises:
        InputError: for a journal that cannot be read.
    """
    journals = [Journal(results / "tuning", search.name) for _, mine in searches for search in mine]
    return all(journal.begun and journal.read().ended >= budget.trials for journal in journals)


def winners(request: Request, results: Path, library: Library) -> tuple[Variant, ...]:
    """The best values found for each method of a request, on each of its data sets and imbalances.

    Raises:
        InputError: where a method was not tuned, is still being tuned, has changed since, or had another number of
            trials than the others.
    """
    found: list[tuple[Study, Variant]] = []
    for search in (search for _, searches in prepare(request, Budget(), library) for search in searches):
        journal = Journal(results / "tuning", search.name)
        again = f"ltbench tune --suite {request.suite} --methods {shlex.quote(search.planned.cell.tuned_as)}"
        if not journal.begun:
            raise InputError(f"study '{search.name}' does not exist in {results}; create it with {again}", search.name)
        study = journal.read()
        if any(study.facts[key] != search.facts[key] for key in ("fingerprint", "sources", "space", "recipe_values")):
            raise InputError(
                f"study '{search.name}' is of another version of the method, images or recipe; run {again}"
            )
        if study.best is None or study.ended < len(study.trials):
            raise InputError(f"study '{search.name}' is not finished; continue with {again}", search.name)
        best = study.source.get_trials(deepcopy=False)[study.best["number"]]
        own, shared = values_of(best.params, study.facts["knobs"])
        found.append((study, replace(search.variant(own, shared), trials=study.ended)))
    if len({study.ended for study, _ in found}) > 1:
        least, most = (end(found, key=lambda one: one[0].ended)[0] for end in (min, max))
        raise InputError(
            f"budgets differ: '{least.name}' had {least.ended} trials, '{most.name}' {most.ended}; "
            f"ltbench tune --suite {request.suite} --trials {most.ended} makes them equal"
        )
    return tuple(variant for _, variant in found)


@dataclass(frozen=True, eq=False)
class Search:
    """The search for one method at one place of a suite.

    Attributes:
        planned: its cell with the default values.
        facts: everything that decides the study's numbers, as JSON values.
        space: Optuna's distributions.
    """

    planned: Planned
    facts: dict[str, Any]
    space: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the study and of its file."""
        cell = self.planned.cell
        parts = (cell.label, str(cell.imbalance), cell.describe()["recipe"], cell.tuned_as)
        return "--".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts)

    @property
    def key(self) -> tuple[str, str, str]:
        """Data set, imbalance and method with its ``after``."""
        cell = self.planned.cell
        return cell.dataset, str(cell.imbalance), cell.tuned_as

    @property
    def defaults(self) -> dict[str, Any]:
        """Default of every parameter that is searched."""
        values = self.planned.methods[-1].hyperparameters
        return {name: values.get(name, 0) for name in self.space}

    def variant(self, own: Mapping[str, Any], shared: Mapping[str, Any], trial: int | None = None) -> Variant:
        """Its method with these hyper-parameters, under a recipe with these changes."""
        dataset, imbalance, _ = self.key
        return Variant(
            dataset=dataset,
            imbalance=imbalance,
            method=self.planned.cell.method,
            hyperparameters={**self.facts["fixed"], **own},
            recipe=shared,
            trial=trial,
        )


def prepare(request: Request, budget: Budget, library: Library) -> list[tuple[Request, list[Search]]]:
    """For each data set of a request: the request of its trials, and the searches there.

    Args:
        request: as for a run; its seeds are not used.
        budget: what every method gets.

    Raises:
        InputError: when anything in the request is wrong.
    """
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + budget.seeds))
    request = replace(request, seeds=seeds, without_test=True)
    suite_plan = make_plan(request, library)
    if suite_plan.broken:
        raise InputError("; ".join(suite_plan.broken.values()))
    if suite_plan.suite.as_published:
        raise InputError("tuning replaces published values; remove --tuned, or as_published of the run or its suite")
    if variant := next((one for one in suite_plan.suite.methods if parse_entry(one)[1].keys() - {AFTER, DOUBLE}), None):
        raise InputError(f"method entry '{variant}' has its own values; tune plain names, and fix values with --set")
    found = []
    for dataset in suite_plan.suite.datasets:
        images = next(planned.images for planned in suite_plan.cells if planned.cell.dataset == dataset)
        holdout = suite_plan.suite.holdout or validation_images(images)
        changes = {**request.changes, "holdout": holdout, "subset_seed": suite_plan.suite.subset_seeds[0]}
        mine = replace(request, datasets=(dataset,), changes=changes, subset_seeds=None)
        cells = [planned for planned in make_plan(mine, library).cells if planned.cell.seed == FIRST_SEED]
        found.append((mine, [_search(planned, suite_plan.suite.name, budget) for planned in cells]))
    return found


def validation_images(images: ImageSet) -> int:
    """Images per class to set aside: 5 % of the smallest class, at least 20 and at most a quarter of that class.

    0 where the data set has its own validation split.

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
        "method": cell.tuned_as,
        "dataset": cell.label,
        "imbalance": str(cell.imbalance),
        "recipe": cell.recipe.label,
        "fingerprint": cell.fingerprint,
        "subset_seed": cell.subset_seed,
        "holdout": cell.holdout,
        "seeds": budget.seeds,
        "sampler_seed": budget.sampler_seed,
        "recipe_values": cell.recipe.identity(),
        "sources": {link.method: link.source for link in cell.chain},
        "space": space_as_text(space),
        "fixed": dict(cell.changed),
        "knobs": {knob: getattr(cell.recipe, knob) for knob in KNOBS},
    }
    return Search(planned, facts, space)


def _tune(
    request: Request,
    searches: list[Search],
    store: Store,
    budget: Budget,
    library: Library,
    abreast: int,
    train: Callable[[Plan], None],
) -> None:
    """Complete the studies of one data set; each has at most ``abreast`` trials under way at once."""
    plan: Plan | None = None
    while True:
        waiting: list[Variant] = []
        records = store.latest()
        for search in searches:
            with Journal(store.root, search.name).opened(search.facts, budget.sampler_seed) as study:
                if plan is not None:
                    for number, cells in _trials(plan, search).items():
                        tell(study, number, *_outcome(cells, records, store), seeds=budget.seeds)
                ask(study, search.space, search.defaults, budget.trials, abreast)
                under_way = [trial for trial in whole(study, search.space) if not trial.state.is_finished()]
            for trial in under_way:
                waiting.append(search.variant(*values_of(trial.params, search.facts["knobs"]), trial.number))
        if not waiting:
            return
        plan = make_plan(replace(request, variants=tuple(waiting)), library)
        trainings = _next_trainings(plan, searches, records)
        train(trainings)
        if lost := without_record(trainings, store):  # it would be trained again for ever
            raise Incomplete(lost)


def _trials(plan: Plan, search: Search) -> dict[int, list[Planned]]:
    """The cells of a study's trials, in the order of their seeds."""
    found: dict[int, list[Planned]] = {}
    for planned in plan.cells:
        cell = planned.cell
        if cell.trial is not None and (cell.dataset, str(cell.imbalance), cell.tuned_as) == search.key:
            found.setdefault(cell.trial, []).append(planned)
    return found


def _next_trainings(plan: Plan, searches: list[Search], records: Mapping[str, Record]) -> Plan:
    """The plan with the next training of every trial only."""
    undone = {planned.cell.id for planned in missing(plan, records)}
    trials = [cells for search in searches for cells in _trials(plan, search).values()]
    cells = (next((planned for planned in cells if planned.cell.id in undone), cells[-1]) for cells in trials)
    return replace(plan, cells=tuple(cells))


def _outcome(cells: list[Planned], records: Mapping[str, Record], store: Store) -> tuple[list[float], float, str]:
    """The values and the seconds of a trial's trainings so far, and why one failed, if one did."""
    values: list[float] = []
    seconds = 0.0
    for planned in cells:
        record = records.get(planned.cell.id)
        if record is None:
            break
        if record.result is None:
            again = record.died and len(store.attempts(record.id)) < ATTEMPTS
            return [] if again else values, seconds, "" if again else str(record.reason)
        values.append(record.result.last.balanced_accuracy)
        seconds += record.result.cost.train_seconds
    return values, seconds, ""

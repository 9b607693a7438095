"""Trains the cells of plans: in this process, or in several workers that live until all plans are done."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ltbench.loaded import changed, mixed
from ltbench.method.source import Present
from ltbench.plan.cell import digest
from ltbench.plan.expand import Library, Plan
from ltbench.results.store import Store
from ltbench.runner.crew import Crew
from ltbench.runner.in_process import Job, compute_features, work_through
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter, Silent
from ltbench.runner.workload import longest_first, missing, untrained


def without_record(plan: Plan, store: Store) -> str:
    """One line that names the cells of a plan that have no record after a run; empty where each has one."""
    known = store.latest()
    lost = [str(planned.cell) for planned in plan.cells if planned.cell.id not in known]
    if not lost:
        return ""
    edited = _edited(plan)
    why = f"; {edited} was edited, and a process that loads it later trains no cell of this plan" if edited else ""
    return f"{len(lost)} of {len(plan.cells)} cells have no record: {_shortened(lost)}{why}; repeat the command"


def of_edited_code(plan: Plan) -> str:
    """One line that says that records of a run are stale already; empty where they are not."""
    if not (edited := _edited(plan)):
        return ""
    return f"{edited} was edited during the run: its results are of the code before; repeat the command to train it"


def _edited(plan: Plan) -> str:
    """The source code of a plan's cells that was edited since the plan was made; empty where none was."""
    sources = {name: value for planned in plan.cells for name, value in planned.cell.sources.items()}
    edited = Present(plan.request.methods_dirs).changes(sources) if changed() else ()
    return _shortened(sorted(edited) or mixed())


def _shortened(names: Sequence[str]) -> str:
    """The first three of these names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class Trainer:
    """Trains the missing cells of one plan after another; made by ``trainer``."""

    def __init__(self, store: Store, options: RunOptions, library: Library, reporter: Reporter | None) -> None:
        self.store, self.options, self.reporter = store, options, reporter
        self.crew = _crew(store, options, library)

    @property
    def workers(self) -> int:
        """How many cells can be trained at the same time by workers."""
        return self.crew.workers

    def __call__(self, plan: Plan) -> None:
        """Train every cell of a plan that has no finished record."""
        before = self.store.latest()
        todo = missing(plan, before)
        if self.options.workers != 1 or self.options.runs_per_device != 1:
            todo = longest_first(todo)
        cells = [{"id": p.cell.id, "row": p.cell.row, **p.cell.describe()} for p in plan.cells]
        name = f"{plan.suite.name}-{digest([cell['id'] for cell in cells])}"
        self.store.add_plan(name, {"suite": plan.suite.name, "cells": cells})
        job = Job(plan, tuple(todo), {p.cell.id: before[p.cell.id].created for p in todo if p.cell.id in before})
        with self.reporter or Silent() as listen:
            listen.begin(untrained(todo, self.store))
            if self.options.executor == "local":
                compute_features(todo, self.options, listen)
            if self._alone(len(todo)):
                work_through(job, self.store, self.options, listen)
            elif todo:
                self.crew.train(job, listen)

    def _alone(self, cells: int) -> bool:
        """Whether this process trains the cells itself."""
        few = self.options.workers == 1 or (cells < 2 and not self.crew.cells and self.options.device != "all")
        return few and self.options.executor == "local" and not self.options.isolate


@contextmanager
def trainer(store: Store, options: RunOptions, library: Library, reporter: Reporter | None = None) -> Iterator[Trainer]:
    """Something that trains every cell of a plan that has no finished record, and that may be called again.

    Workers live as long as the context, so that the plans of several rounds load methods and images once. A cell that
    another process is training is left to that process. A cell that fails becomes a record with the reason, and the
    others are trained all the same.

    Args:
        store: of the results.
        options: resolved.
        library: the methods and images that the plans were made with.
        reporter: follows the progress.

    Raises:
        InputError: when the results folder cannot be written.
    """
    store.prepare()
    train = Trainer(store, options, library, reporter)
    try:
        yield train
    finally:
        train.crew.end()


def _crew(store: Store, options: RunOptions, library: Library) -> Crew[Any]:
    """The workers; none is started yet."""
    if options.executor == "ray":
        from ltbench.runner.on_ray import Actors

        return Actors(store, options, library)
    from ltbench.runner.processes import Processes

    return Processes(store, options, library)

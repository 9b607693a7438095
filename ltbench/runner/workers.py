"""Trains the cells of plans: in this process, or in several workers that live until all plans are done."""

import copy
import functools
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from ltbench.data import LongTailed, cut
from ltbench.errors import InputError, one_line
from ltbench.plan.cell import Cell, digest
from ltbench.plan.expand import Library, Plan, Planned, make_plan
from ltbench.plan.request import Request
from ltbench.results.record import Record, Result
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter, Silent
from ltbench.runner.threads import Claim, Speed, Todo, Together
from ltbench.runner.workload import longest_first, missing
from ltbench.units import mebibytes


def execute(plan: Plan, store: Store, options: RunOptions, library: Library, reporter: Reporter | None = None) -> None:
    """Train every cell of one plan that has no finished record; see `Trainer`.

    Raises:
        InputError: when the options do not fit the cells, or the results folder cannot be written.
    """
    resolved = options.resolved(missing(plan, store.latest()))
    with trainer(store, resolved, library, reporter) as train:
        train(plan)


@contextmanager
def trainer(
    store: Store, options: RunOptions, library: Library, reporter: Reporter | None = None
) -> Iterator[Callable[[Plan], None]]:
    """A function that trains every cell of a plan that has no finished record, and that may be called again.

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
    crew = _Crew(store, options, library)

    def train(plan: Plan) -> None:
        before = store.latest()
        todo = missing(plan, before)
        if options.workers != 1 or options.runs_per_device != 1:
            todo = longest_first(todo)
        cells = [{"id": p.cell.id, "row": p.cell.row, **p.cell.describe()} for p in plan.cells]
        name = f"{plan.suite.name}-{digest([cell['id'] for cell in cells])}"
        store.add_plan(name, {"suite": plan.suite.name, "cells": cells})
        job = Job(plan, tuple(todo), {p.cell.id: before[p.cell.id].created for p in todo if p.cell.id in before})
        with reporter or Silent() as listen:
            listen.begin(len(todo), sum(p.work for p in todo))
            if any(planned.cell.recipe.frozen for planned in todo):
                _compute_features(todo, options, listen)
            if options.workers == 1 or (len(todo) < 2 and not crew.running):
                _work_through(job, store, options, listen)
            else:
                crew.train(job, listen)

    try:
        yield train
    finally:
        crew.end()


def _compute_features(cells: Sequence[Planned], options: RunOptions, listen: Reporter) -> None:
    """Compute the features of frozen backbones in this process, before any cell is trained."""
    import torch

    from ltbench.runner.inputs import compute_features

    compute_features(cells, torch.device(options.device), listen.say)


@dataclass(frozen=True)
class Job:
    """What is still to be trained of a plan.

    Attributes:
        todo: the cells, in the order in which they are taken.
        seen: for cells that failed before, when their record was made: it does not count as done.
    """

    plan: Plan
    todo: tuple[Planned, ...]
    seen: Mapping[str, str]

    def record(self, cell: Cell, options: RunOptions, **outcome: Any) -> Record:
        """The record of one of its cells, with its ``result`` or the ``reason`` why it failed."""
        command = f"{self.plan.request.command(cell)} --device {options.device} --threads {options.threads}"
        return Record.of(cell, suite=self.plan.suite.name, command=command, **outcome)


def _work_through(job: Job, store: Store, options: RunOptions, listen: Reporter) -> None:
    """Train the cells of a job, one after another or several at once, without those that other processes train."""
    import torch

    from ltbench.engine.process import numerics, own_stream, prepare
    from ltbench.runner.inputs import inputs

    prepare()
    torch.set_num_threads(options.threads)
    todo, speed, reporting, cutting = Todo(job.todo, store), Speed(), threading.Lock(), threading.Lock()
    cuts = functools.lru_cache(maxsize=4)(cut)

    def data(planned: Planned) -> LongTailed:
        cell = planned.cell
        images, test = inputs(planned, torch.device(options.device))
        with cutting:
            found = cuts(images, cell.imbalance, cell.subset_seed, cell.holdout)
        return replace(found, test=test()) if cell.recipe.test_curve and test else found

    def one(claim: Claim) -> Record:
        cell = claim.planned.cell
        found = store.latest(cell.id).get(cell.id)
        if found is None or found.created == job.seen.get(cell.id):
            with reporting:
                listen.cell(str(cell))
            found = _train(job, store, options, data, on_epoch, claim)
            store.add(found)
        return found

    def work(wanted: Callable[[], bool] = lambda: True) -> None:
        with own_stream(torch.device(options.device)):
            while (claim := todo.take(wanted)) is not None:
                try:
                    found = one(claim)
                finally:
                    todo.give_back(claim)
                with reporting:
                    listen.finished(str(claim.planned.cell), outcome(found), claim.planned.work)

    def on_epoch(planned: Planned, stage: str, done: int, epochs: int) -> None:
        speed.epoch(str(planned.cell), planned.work_an_epoch)
        with reporting:
            listen.epoch(str(planned.cell), stage, done, epochs)

    if options.runs_per_device == 1:
        work()
        return
    runs = None if options.runs_per_device == "auto" else options.runs_per_device
    with numerics(strict=job.plan.suite.recipe.precision == "fp32-strict"):
        Together(work, runs, speed).run()


def _train(
    job: Job,
    store: Store,
    options: RunOptions,
    data: Callable[[Planned], LongTailed],
    on_epoch: Callable[[Planned, str, int, int], None],
    claim: Claim,
) -> Record:
    """Train a cell; its record, also where it fails."""
    import torch

    from ltbench.runner.inputs import inputs
    from ltbench.runner.one_cell import run_cell

    planned = claim.planned
    try:
        result = run_cell(
            planned.cell,
            copy.deepcopy(planned.methods),  # ``setup`` changes them for this cell's class counts
            data(planned),
            inputs(planned, torch.device(options.device))[1],
            store,
            device=torch.device(options.device),
            checkpoint_every_s=options.checkpoint_every_s,
            on_epoch=functools.partial(on_epoch, planned),
            tier=options.tier,
            images_in=options.images_in,
            processes=options.workers or 1,
        )
    except Exception as error:  # one cell that fails must not stop the others
        return job.record(planned.cell, options, reason=one_line(error))
    return job.record(planned.cell, options, result=_beside(result, claim.together))


def _beside(result: Result, runs: int) -> Result:
    """The result of a cell that was trained at the same time as others of its process."""
    if runs == 1:
        return result
    cost = {"runs_together": runs, "peak_memory_bytes": None}  # the memory is known of all runs together only
    return result.model_copy(update={"cost": result.cost.model_copy(update=cost)})


def outcome(record: Record) -> str:
    """One line on how a cell ended."""
    if record.result is None:
        return f"FAILED: {record.reason}"
    cost, last = record.result.cost, record.result.last
    few = "" if last.few is None else f", few {last.few:.1f} %"
    reused = f" ({cost.reused_seconds:.1f} s of them reused)" if cost.reused_seconds else ""
    memory = cost.peak_memory_bytes
    beside = f"{cost.runs_together} runs together" if memory is None else f"peak {mebibytes(memory)}"
    speed = f"{cost.images_per_second:.0f} images/s, {beside}"
    return f"{last.balanced_accuracy:.1f} %{few}; trained {cost.train_seconds:.1f} s{reused}, {speed}"


class _Remote(Silent):
    """A worker's reporter: sends everything to the parent."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def cell(self, name: str) -> None:
        self.send("cell", name)

    def epoch(self, name: str, stage: str, done: int, epochs: int) -> None:
        self.send("epoch", name, stage, done, epochs)

    def finished(self, name: str, outcome: str, work: float) -> None:
        self.send("finished", name, outcome, work)

    def send(self, *event: Any) -> None:
        """Send one event; ends the process where the parent was killed, which is no failure of the cell."""
        try:
            self.connection.send(event)
        except BrokenPipeError:
            raise SystemExit(1) from None


@dataclass(frozen=True)
class _Assignment:
    """A job as a worker receives it: the request is small, and the worker expands it with its own library."""

    request: Request
    ids: frozenset[str]
    seen: Mapping[str, str]


def _worker(
    connection: Connection, root: Path, options: RunOptions, fingerprints: Mapping[tuple[str, ...], str]
) -> None:
    """The life of a worker: it loads methods and images once, and trains one job after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent receives it and ends its workers
    library, store, remote = Library(fingerprints), Store(root), _Remote(connection)
    while True:
        try:
            task: _Assignment = connection.recv()
        except EOFError:
            return
        plan = make_plan(task.request, library)
        todo = longest_first([planned for planned in plan.cells if planned.cell.id in task.ids])
        _work_through(Job(plan, tuple(todo), task.seen), store, options, remote)
        remote.send("idle", "")


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module while a process starts.

    A new process imports the main module of its parent. Workers use nothing of it, and a script without
    ``if __name__ == "__main__":`` would start all over in each of them.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _Crew:
    """The workers. Each takes whatever cell no other process is training."""

    def __init__(self, store: Store, options: RunOptions, library: Library) -> None:
        self.store, self.options, self.library = store, options, library
        self.context = multiprocessing.get_context("forkserver")
        preload = ["ltbench.runner.one_cell", "ltbench.method.registry"]
        self.context.set_forkserver_preload(preload)  # torch is imported once for all
        self.running: dict[Connection, tuple[BaseProcess, str | None]] = {}
        self.busy: set[Connection] = set()

    def train(self, job: Job, listen: Reporter) -> None:
        """Have a job trained, replacing workers that die, until every cell has a record and every worker is idle."""
        self.job, self.listen = job, listen
        self.todo = {str(planned.cell): planned for planned in job.todo}
        for connection in self.running:
            self._send(connection)
        while len(self.running) < min(self.options.workers or 1, len(self.todo)):
            self._start()
        self.busy = set(self.running)
        while self.busy:
            for ready in wait(list(self.busy)):
                assert isinstance(ready, Connection)
                try:
                    self._hear(ready, ready.recv())
                except EOFError:
                    self._gone(ready)

    def end(self) -> None:
        """End all workers."""
        for process, _ in self.running.values():
            process.terminate()
        for process, _ in self.running.values():
            process.join()

    def _start(self) -> Connection:
        ours, theirs = self.context.Pipe()
        arguments = (theirs, self.store.root, self.options, self.library.fingerprints)
        process = self.context.Process(target=_worker, args=arguments, daemon=True)
        with _without_main():
            process.start()
        theirs.close()
        self.running[ours] = process, None
        self._send(ours)
        return ours

    def _send(self, connection: Connection) -> None:
        ids = frozenset(planned.cell.id for planned in self.todo.values())
        connection.send(_Assignment(self.job.plan.request, ids, self.job.seen))

    def _hear(self, connection: Connection, event: tuple[Any, ...]) -> None:
        process, cell = self.running[connection]
        kind, name, *details = event
        if kind == "idle":
            self.busy.remove(connection)
        elif kind == "cell":
            self.listen.cell(name)
            cell = name
        elif kind == "epoch":
            self.listen.epoch(name, *details)
        else:  # every worker reports every cell; the first report counts
            cell = None
            if self.todo.pop(name, None):
                self.listen.finished(name, *details)
        self.running[connection] = process, cell

    def _gone(self, connection: Connection) -> None:
        """A worker has died: the cell that it was training has failed, and another worker takes its place."""
        process, name = self.running.pop(connection)
        self.busy.remove(connection)
        process.join()
        if name is None:
            status = process.exitcode
            raise InputError(f"a worker ended with exit status {status} before it trained anything; try --workers 1")
        planned = self.todo.pop(name)
        killed = " (killed, often because memory ran out)" if process.exitcode == -signal.SIGKILL else ""
        reason = f"its process ended with exit status {process.exitcode}{killed}"
        record = self.job.record(planned.cell, self.options, reason=reason, died=True)
        self.store.add(record)
        self.listen.finished(name, outcome(record), planned.work)
        if self.todo:
            self.busy.add(self._start())

"""Trains the cells of plans: in this process, or in several workers that live until all plans are done."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import ltbench
from ltbench.errors import InputError
from ltbench.plan.cell import digest
from ltbench.plan.expand import Library, Plan, Planned, make_plan
from ltbench.plan.request import Request
from ltbench.results.store import Store
from ltbench.runner.in_process import Job, outcome, work_through
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter, Silent
from ltbench.runner.workload import longest_first, missing

AGAIN = 2
"""How often a cell is queued again after the worker that trained it has died."""


def execute(plan: Plan, store: Store, options: RunOptions, library: Library, reporter: Reporter | None = None) -> None:
    """Train every cell of one plan that has no finished record; see `Trainer`.

    Raises:
        InputError: when the options do not fit the cells, or the results folder cannot be written.
    """
    resolved = options.resolved(missing(plan, store.latest()))
    with trainer(store, resolved, library, reporter) as train:
        train(plan)
    if lost := without_record(plan, store):
        raise RuntimeError(lost)


def without_record(plan: Plan, store: Store) -> str:
    """One line that names the cells of a plan that have no record after a run; empty where each has one."""
    known = store.latest()
    lost = [str(planned.cell) for planned in plan.cells if planned.cell.id not in known]
    if not lost:
        return ""
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    return f"{len(lost)} of {len(plan.cells)} cells have no record: {', '.join(lost[:3])}{more}; repeat the command"


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
            if not options.isolate and (options.workers == 1 or (len(todo) < 2 and not crew.running)):
                work_through(job, store, options, listen)
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

    def say(self, line: str) -> None:
        self.send("say", line)

    def send(self, *event: Any) -> None:
        """Send one event; interrupts the process where the parent was killed, which is no failure of the cell."""
        try:
            self.connection.send(event)
        except OSError:
            raise KeyboardInterrupt from None


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
    threading.Thread(target=_end_with_parent, daemon=True).start()
    library, store, remote = Library(fingerprints), Store(root), _Remote(connection)
    with suppress(EOFError, KeyboardInterrupt):  # the parent is gone
        while True:
            task: _Assignment = connection.recv()
            plan = make_plan(task.request, library)
            todo = longest_first([planned for planned in plan.cells if planned.cell.id in task.ids])
            stays = work_through(Job(plan, tuple(todo), task.seen), store, options, remote, replaceable=True)
            remote.send("idle" if stays else "leaves", "")
            if not stays:
                return


def _end_with_parent() -> None:
    """End this process as soon as the parent is gone, also in the middle of a cell."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _clean_start() -> Iterator[None]:
    """Hide the main module and the working folder while a process starts.

    A new process imports the main module of its parent. Workers use nothing of it, and a script without
    ``if __name__ == "__main__":`` would start all over in each of them. A file such as ``random.py`` in the working
    folder would take the place of a module of Python.
    """
    main, path, safe = sys.modules["__main__"], list(sys.path), os.environ.get("PYTHONSAFEPATH")
    sys.modules["__main__"] = ModuleType("__main__")
    here, ours = Path.cwd(), Path(ltbench.__file__).parents[1]
    if here != ours:  # a checkout that is not installed is found in the working folder only
        sys.path[:] = [place for place in path if place and Path(place) != here]
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        sys.modules["__main__"], sys.path[:] = main, path
        if safe is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = safe


class _Crew:
    """The workers. Each takes whatever cell no other process is training."""

    def __init__(self, store: Store, options: RunOptions, library: Library) -> None:
        self.store, self.options, self.library = store, options, library
        self.context = multiprocessing.get_context("forkserver")
        preload = ["ltbench.runner.one_cell", "ltbench.method.registry"]
        self.context.set_forkserver_preload(preload)  # torch is imported once for all
        self.running: dict[Connection, tuple[BaseProcess, str | None]] = {}
        self.busy: set[Connection] = set()
        self.deaths: Counter[str] = Counter()  # by cell; "": between cells

    def train(self, job: Job, listen: Reporter) -> None:
        """Have a job trained, replacing workers that die, until every cell has a record and every worker is idle."""
        self.job, self.listen = job, listen
        self.todo = {str(planned.cell): planned for planned in job.todo}
        for connection in list(self.running):
            try:
                self._send(connection)
            except OSError:  # it died while it was idle
                self.running.pop(connection)[0].join()
        while len(self.running) < min(self.options.workers or 1, len(self.todo)):
            self._start()
        self.busy = set(self.running)
        while self.busy:
            for ready in wait(list(self.busy)):
                assert isinstance(ready, Connection)
                try:
                    self._hear(ready, ready.recv())
                except (EOFError, OSError):
                    self._gone(ready)

    def end(self) -> None:
        """End all workers."""
        for connection, (process, _) in self.running.items():
            connection.close()
            process.terminate()
        for process, _ in self.running.values():
            process.join()

    def _start(self) -> Connection:
        for _ in range(AGAIN + 1):
            ours, theirs = self.context.Pipe()
            arguments = (theirs, self.store.root, self.options, self.library.fingerprints)
            process = self.context.Process(target=_worker, args=arguments, daemon=True)
            with suppress(EOFError, ConnectionError), _clean_start():  # the fork server was killed: it starts again
                process.start()
                break
        else:
            raise InputError("the process that starts the workers ended three times; try --workers 1")
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
        elif kind == "leaves":
            self.running.pop(connection)
            self.busy.remove(connection)
            process.join()
            if self.todo:
                self.busy.add(self._start())
            return
        elif kind == "say":
            self.listen.say(name)
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
        """A worker has died: its cell is queued again, at most twice, and another worker takes its place."""
        process, name = self.running.pop(connection)
        self.busy.remove(connection)
        process.join()
        killed = " (killed, often because memory ran out)" if process.exitcode == -signal.SIGKILL else ""
        reason = f"its process ended with exit status {process.exitcode}{killed}"
        self.deaths[name or ""] += 1
        if name is None and self.deaths[""] > AGAIN:
            raise InputError(f"three workers died outside a cell; of the last one, {reason}; try --workers 1")
        if name in self.todo and self.deaths[name] > AGAIN:
            planned = self.todo.pop(name)
            record = self.job.record(planned.cell, self.options, reason=f"{reason}, {AGAIN + 1} times", died=True)
            self.store.add(record)
            self.listen.finished(name, outcome(record), planned.work)
        elif name in self.todo:
            self.listen.say(f"{name}: {reason}; queued again ({self.deaths[name]} of {AGAIN})")
        if self.todo:
            self.busy.add(self._start())

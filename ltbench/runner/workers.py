"""Executes a plan: in this process, or in several workers on this machine that live until it is done."""

import copy
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from ltbench.data import LongTailed, cut
from ltbench.errors import InputError
from ltbench.plan.cell import digest
from ltbench.plan.expand import Plan, Planned, Request, make_plan, missing
from ltbench.results.store import Record, Store
from ltbench.runner.progress import Reporter, Silent
from ltbench.runner.threads import MOST_RUNS, Claim, Speed, Todo, Together, longest_first


@dataclass(frozen=True)
class Settings:
    """How a plan is executed; nothing of it changes what is computed, but for rounding that depends on ``threads``.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        checkpoint_every_s: seconds between checkpoints of a running stage.
        workers: processes; None: one for each core where there are at least as many cells to train, and no GPU.
        threads: of each process; None: the cores divided by the workers.
        tier: ``eager``, or on a GPU ``graph`` or ``compiled``.
        runs_per_device: runs at once in this process, on a GPU each on a stream of its own; ``auto``: as many as pay.
        images_in: memory of the ``device``, ``host`` memory, or the packed ``file`` of an image folder; ``auto``: the
            first of them that has room.
    """

    device: str = "auto"
    checkpoint_every_s: float = 30.0
    workers: int | None = None
    threads: int | None = None
    tier: Literal["eager", "graph", "compiled"] = "eager"
    runs_per_device: int | Literal["auto"] = 1
    images_in: Literal["auto", "device", "host", "file"] = "auto"

    def resolved(self, cells: int) -> "Settings":
        """With numbers in place of None, for so many cells to train.

        Raises:
            InputError: when the device is not there, and for settings that exclude one another.
        """
        from ltbench.engine.process import device_of

        device = device_of(self.device)
        if self.tier != "eager" and device.type != "cuda":
            raise InputError(f"tier '{self.tier}' needs a CUDA device; on {device} it is --tier eager", self.tier)
        several = self.runs_per_device != 1
        if several and (self.workers or 1) > 1:
            raise InputError("several runs per device are the threads of one process; leave --workers out", "workers")
        if several and self.tier == "compiled":
            raise InputError("tier 'compiled' compiles one run at a time; with several it is --tier graph", self.tier)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = self.workers or (cores if device.type == "cpu" and cells >= cores and not several else 1)
        shares = workers * (MOST_RUNS if self.runs_per_device == "auto" else self.runs_per_device)
        return replace(self, device=str(device), workers=workers, threads=self.threads or max(1, cores // shares))


def checked(settings: Settings, plan: Plan, cells: int) -> Settings:
    """The settings for so many cells of a plan, with numbers in place of None.

    Raises:
        InputError: when the device is not there, images are to lie where they cannot, and for settings that exclude one
            another.
    """
    if settings.images_in == "file":
        for planned in plan.cells:
            if not planned.images.train.in_file:
                name = planned.cell.label
                raise InputError(f"{name} lies in no packed file, as image folders do; use --images-in host", "file")
    return settings.resolved(cells)


def execute(plan: Plan, store: Store, settings: Settings | None = None, reporter: Reporter | None = None) -> None:
    """Train every cell of a plan that has no finished record.

    A cell that another process has in hand is left to it. A cell that fails becomes a record with the reason, and the
    others go on.

    Raises:
        InputError: when the device is not there, images are to lie where they cannot, or the results folder cannot be
            written.
    """
    before = store.latest()
    todo = missing(plan, before)
    resolved = checked(settings or Settings(), plan, len(todo))
    if resolved.workers != 1 or resolved.runs_per_device != 1:
        todo = longest_first(todo)
    store.prepare()
    ids = [planned.cell.id for planned in plan.cells]
    described = [{"id": p.cell.id, "row": p.cell.row, **p.cell.describe(), "shots": p.cell.shots} for p in plan.cells]
    store.add_plan(f"{plan.suite.name}-{digest(ids)}", {"suite": plan.suite.name, "cells": described})
    with reporter or Silent() as listen:
        listen.begin(len(todo), sum(p.work for p in todo))
        if resolved.workers == 1 or len(todo) < 2:
            _work_through(plan, todo, store, before, resolved, listen)
        else:
            _Workers(plan, todo, store, resolved, listen).run()


def _work_through(
    plan: Plan,
    cells: Sequence[Planned],
    store: Store,
    before: Mapping[str, Record],
    settings: Settings,
    listen: Reporter,
) -> None:
    """Train these cells, one after another or several at once, leaving alone what other processes have in hand."""
    import torch

    from ltbench.engine.process import numerics, own_stream, prepare

    prepare()
    torch.set_num_threads(settings.threads or 1)
    todo, speed, telling, cutting = Todo(cells, store), Speed(), threading.Lock(), threading.Lock()
    cuts = functools.lru_cache(maxsize=4)(cut)

    def data(planned: Planned) -> LongTailed:
        cell = planned.cell
        with cutting:
            return cuts(planned.images, cell.imbalance, cell.subset_seed, cell.holdout)

    def one(claim: Claim) -> Record:
        cell = claim.planned.cell
        found = store.latest(cell.id).get(cell.id)
        if found is None or found == before.get(cell.id):
            with telling:
                listen.cell(str(cell))
            found = _train(plan, store, settings, data, told, claim)
            store.add(found)
        return found

    def work(wanted: Callable[[], bool] = lambda: True) -> None:
        with own_stream(torch.device(settings.device)):
            while (claim := todo.take(wanted)) is not None:
                try:
                    found = one(claim)
                finally:
                    todo.give_back(claim)
                with telling:
                    listen.finished(str(claim.planned.cell), outcome(found), claim.planned.work)

    def told(planned: Planned, stage: str, done: int, epochs: int) -> None:
        speed.epoch(str(planned.cell), planned.work_an_epoch)
        with telling:
            listen.epoch(str(planned.cell), stage, done, epochs)

    if settings.runs_per_device == 1:
        work()
        return
    runs = None if settings.runs_per_device == "auto" else settings.runs_per_device
    with numerics(strict=plan.suite.recipe.precision == "fp32-strict"):
        Together(work, runs, speed).run()


def _train(
    plan: Plan,
    store: Store,
    settings: Settings,
    data: Callable[[Planned], LongTailed],
    told: Callable[[Planned, str, int, int], None],
    claim: Claim,
) -> Record:
    """The record of a cell, trained or failed."""
    import torch

    from ltbench.runner.one_cell import header, run_cell

    planned, cell = claim.planned, claim.planned.cell
    try:
        record = run_cell(
            cell,
            copy.deepcopy(planned.methods),  # they keep what ``setup`` made of this cell's class counts
            data(planned),
            store,
            torch.device(settings.device),
            settings.checkpoint_every_s,
            functools.partial(told, planned),
            settings.tier,
            settings.images_in,
            settings.workers or 1,
        )
        record["cost"]["runs_together"] = claim.together
        if claim.together > 1:
            record["cost"]["peak_memory_bytes"] = None  # is known of all runs together only
    except Exception as error:  # a cell that fails takes no other down
        text = str(error).splitlines()[0] if str(error) else ""
        reason = text if type(error).__name__ == "TrainingFailed" else f"{type(error).__name__}: {text}"
        record = header(cell) | {"status": "failed", "reason": reason}
    command = f"{plan.request.command(cell)} --device {settings.device} --threads {settings.threads}"
    return record | {"suite": plan.suite.name, "command": command}


def outcome(record: Record) -> str:
    """One line on how a cell ended."""
    if record["status"] == "failed":
        return f"FAILED: {record['reason']}"
    cost, last = record["cost"], record["protocols"]["last"]
    few = "" if last["few"] is None else f", few {last['few']:.1f} %"
    reused = f", {cost['reused_seconds']:.1f} s of it reused" if cost["reused_seconds"] else ""
    alone = cost["runs_together"] == 1
    beside = f"peak {cost['peak_memory_bytes'] / 2**20:.0f} MiB" if alone else f"{cost['runs_together']} runs together"
    speed = f"{cost['images_per_second']:.0f} images/s, {beside}"
    return f"{last['balanced_accuracy']:.1f} %{few}; trained {cost['train_seconds']:.1f} s{reused}, {speed}"


class _Remote(Silent):
    """A worker's reporter: sends what it hears to the parent."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def cell(self, name: str) -> None:
        self._send("cell", name)

    def epoch(self, name: str, stage: str, done: int, epochs: int) -> None:
        self._send("epoch", name, stage, done, epochs)

    def finished(self, name: str, outcome: str, work: float) -> None:
        self._send("finished", name, outcome, work)

    def _send(self, *event: Any) -> None:
        try:
            self.connection.send(event)
        except BrokenPipeError:  # the parent was killed: end as it did, which is no failure of the cell
            raise SystemExit(1) from None


def _worker(
    connection: Connection, request: Request, ids: set[str], root: Path, before: set[str], settings: Settings
) -> None:
    """The whole life of a worker: everything is imported and loaded once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends its workers
    plan = make_plan(request)
    store = Store(root)
    seen = {cell: record for cell, record in store.latest().items() if f"{cell} {record['created']}" in before}
    todo = longest_first([planned for planned in plan.cells if planned.cell.id in ids])
    _work_through(plan, todo, store, seen, settings, _Remote(connection))


class _Workers:
    """Several workers on one plan. Each takes whatever cell no other has in hand."""

    def __init__(self, plan: Plan, todo: Sequence[Planned], store: Store, settings: Settings, listen: Reporter) -> None:
        self.plan, self.store, self.settings, self.listen = plan, store, settings, listen
        self.todo = {str(planned.cell): planned for planned in todo}
        self.before = {f"{cell} {record['created']}" for cell, record in store.latest().items()}
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["ltbench.runner.one_cell", "ltbench.method.registry"]
        )  # torch is imported once for all
        self.running: dict[Connection, tuple[BaseProcess, str | None]] = {}

    def run(self) -> None:
        """Start the workers, listen to them, and replace those that die, until every cell has a record."""
        try:
            for _ in range(min(self.settings.workers or 1, len(self.todo))):
                self._start()
            while self.running:
                for connection in wait(list(self.running)):
                    assert isinstance(connection, Connection)
                    try:
                        self._hear(connection, connection.recv())
                    except EOFError:
                        self._gone(connection)
        finally:
            for process, _ in self.running.values():
                process.terminate()
            for process, _ in self.running.values():
                process.join()

    def _start(self) -> None:
        ours, theirs = self.context.Pipe(duplex=False)
        ids = {planned.cell.id for planned in self.todo.values()}
        arguments = (theirs, self.plan.request, ids, self.store.root, self.before, self.settings)
        process = self.context.Process(target=_worker, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self.running[ours] = process, None

    def _hear(self, connection: Connection, event: tuple[Any, ...]) -> None:
        process, cell = self.running[connection]
        kind, name, *details = event
        if kind == "cell":
            self.listen.cell(name)
            cell = name
        elif kind == "epoch":
            self.listen.epoch(name, *details)
        elif name in self.todo:  # every worker tells of every cell; the first one counts
            del self.todo[name]
            self.listen.finished(name, *details)
            cell = None
        self.running[connection] = process, cell

    def _gone(self, connection: Connection) -> None:
        """A worker has ended. If it died, its cell has failed, and another one takes its place."""
        process, name = self.running.pop(connection)
        process.join()
        if process.exitcode == 0:
            return
        if name is None:
            raise InputError(f"a worker ended with exit status {process.exitcode} before it trained anything")
        planned = self.todo.pop(name)
        from ltbench.runner.one_cell import header

        reason = f"its process ended with exit status {process.exitcode} (-9: killed, often for want of memory)"
        suite = {"suite": self.plan.suite.name, "command": self.plan.request.command(planned.cell)}
        record = header(planned.cell) | {"status": "failed", "reason": reason, "died": True} | suite
        self.store.add(record)
        self.listen.finished(name, outcome(record), planned.work)
        if self.todo:
            self._start()

"""Executes a plan: in this process, or in several workers on this machine that live until it is done."""

import functools
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from ltbench.cell import digest
from ltbench.data import cut
from ltbench.errors import InputError
from ltbench.progress import Reporter, Silent
from ltbench.runner import Plan, Planned, Request, make_plan
from ltbench.store import Record, Store


@dataclass(frozen=True)
class Settings:
    """How a plan is executed; nothing of it changes what is computed, but for rounding that depends on ``threads``.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        checkpoint_every_s: seconds between checkpoints of a running stage.
        workers: processes; None: one for each core where there are at least as many cells to train, and no GPU.
        threads: of each process; None: the cores divided by the workers.
        tier: ``eager``, or on a GPU ``graph`` or ``compiled``.
        images_in: memory of the ``device``, ``host`` memory, or the packed ``file`` of an image folder; ``auto``: the
            first of them that has room.
    """

    device: str = "auto"
    checkpoint_every_s: float = 30.0
    workers: int | None = None
    threads: int | None = None
    tier: Literal["eager", "graph", "compiled"] = "eager"
    images_in: Literal["auto", "device", "host", "file"] = "auto"

    def resolved(self, cells: int) -> "Settings":
        """With numbers in place of None, for so many cells to train.

        Raises:
            InputError: when the device is not there.
        """
        from ltbench.engine.process import device_of

        device = device_of(self.device)
        if self.tier != "eager" and device.type != "cuda":
            raise InputError(f"tier '{self.tier}' needs a CUDA device; on {device} it is --tier eager", self.tier)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = self.workers or (cores if device.type == "cpu" and cells >= cores else 1)
        return replace(self, device=str(device), workers=workers, threads=self.threads or max(1, cores // workers))


def execute(plan: Plan, store: Store, settings: Settings | None = None, reporter: Reporter | None = None) -> None:
    """Train every cell of a plan that has no finished record.

    A cell that another process has in hand is left to it. A cell that fails becomes a record with the reason, and the
    others go on.

    Raises:
        InputError: when the device is not there, images are to lie where they cannot, or the results folder cannot be
            written.
    """
    if settings is not None and settings.images_in == "file":
        for planned in plan.cells:
            if not planned.images.train.in_file:
                name = planned.cell.label
                raise InputError(f"{name} lies in no packed file, as image folders do; use --images-in host", "file")
    before = store.latest()
    todo = [p for p in plan.cells if before.get(p.cell.id, {}).get("status") != "done"]
    resolved = (settings or Settings()).resolved(len(todo))
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
    todo: Sequence[Planned],
    store: Store,
    before: Mapping[str, Record],
    settings: Settings,
    listen: Reporter,
) -> None:
    """Train these cells one after another, leaving alone what other processes have in hand."""
    import torch

    from ltbench.engine.process import prepare

    prepare()
    torch.set_num_threads(settings.threads or 1)
    train = functools.partial(_train, plan, store, settings, functools.lru_cache(maxsize=4)(cut), listen)
    left = list(todo)
    while left:
        waiting = []
        for planned in left:
            cell = planned.cell
            lock = None if _blocked(planned, store) else store.try_lock(cell.id)
            if lock is None:
                waiting.append(planned)
                continue
            with lock:
                found = store.latest(cell.id).get(cell.id)
                if found is None or found == before.get(cell.id):
                    found = train(planned)
                    store.add(found)
            listen.finished(str(cell), outcome(found), planned.work)
        if len(waiting) == len(left):
            time.sleep(0.1)  # all that is left is in the hands of other processes
        left = waiting


def _blocked(planned: Planned, store: Store) -> bool:
    """Whether another process is at work on a stage that the cell needs."""
    stages = [
        planned.cell.stage_id(number, index)
        for number, method in enumerate(planned.methods)
        for index in range(len(method.stages()))
    ]
    return any(not store.stage_path(s).exists() and store.is_locked(f"stage-{s}") for s in stages)


def _train(plan: Plan, store: Store, settings: Settings, data: Any, listen: Reporter, planned: Planned) -> Record:
    """The record of a cell, trained or failed."""
    import torch

    from ltbench.execute import header, run_cell

    cell = planned.cell
    listen.cell(str(cell))
    try:
        record = run_cell(
            cell,
            planned.methods,
            data(planned.images, cell.imbalance, cell.subset_seed, cell.holdout),
            store,
            torch.device(settings.device),
            settings.checkpoint_every_s,
            functools.partial(listen.epoch, str(cell)),
            settings.tier,
            settings.images_in,
            settings.workers or 1,
        )
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
    speed = f"{cost['images_per_second']:.0f} images/s, peak {cost['peak_memory_bytes'] / 2**20:.0f} MiB"
    return f"{last['balanced_accuracy']:.1f} %{few}; trained {cost['train_seconds']:.1f} s{reused}, {speed}"


class _Remote(Silent):
    """A worker's reporter: sends what it hears to the parent."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def cell(self, name: str) -> None:
        self.connection.send(("cell", name))

    def epoch(self, name: str, stage: str, done: int, epochs: int) -> None:
        self.connection.send(("epoch", name, stage, done, epochs))

    def finished(self, name: str, outcome: str, work: float) -> None:
        self.connection.send(("finished", name, outcome, work))


def _worker(
    connection: Connection, request: Request, ids: set[str], root: Path, before: set[str], settings: Settings
) -> None:
    """The whole life of a worker: everything is imported and loaded once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends its workers
    plan = make_plan(request)
    store = Store(root)
    seen = {cell: record for cell, record in store.latest().items() if f"{cell} {record['created']}" in before}
    todo = [planned for planned in plan.cells if planned.cell.id in ids]
    _work_through(plan, todo, store, seen, settings, _Remote(connection))


class _Workers:
    """Several workers on one plan. Each takes whatever cell no other has in hand."""

    def __init__(self, plan: Plan, todo: Sequence[Planned], store: Store, settings: Settings, listen: Reporter) -> None:
        self.plan, self.store, self.settings, self.listen = plan, store, settings, listen
        self.todo = {str(planned.cell): planned for planned in todo}
        self.before = {f"{cell} {record['created']}" for cell, record in store.latest().items()}
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["ltbench.execute", "ltbench.registry"])  # torch is imported once for all
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
        from ltbench.execute import header

        reason = f"its process ended with exit status {process.exitcode} (-9: killed, often for want of memory)"
        suite = {"suite": self.plan.suite.name, "command": self.plan.request.command(planned.cell)}
        record = header(planned.cell) | {"status": "failed", "reason": reason} | suite
        self.store.add(record)
        self.listen.finished(name, outcome(record), planned.work)
        if self.todo:
            self._start()

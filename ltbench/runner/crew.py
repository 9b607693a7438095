"""A crew: workers that live until all jobs are done, wherever they run, and what happens when one of them dies."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ltbench.errors import InputError
from ltbench.plan.expand import Library, make_plan
from ltbench.plan.request import Request
from ltbench.results.store import Store
from ltbench.runner.in_process import Job, outcome, work_through
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter, Silent
from ltbench.runner.workload import longest_first

AGAIN = 2
"""How often a cell is queued again after the worker that trained it has died."""

Worker = TypeVar("Worker", bound=Hashable)
Event = tuple[Any, ...]


@dataclass(frozen=True)
class Assignment:
    """A job as a worker receives it: the request is small, and the worker expands it with its own library."""

    request: Request
    ids: frozenset[str]
    seen: Mapping[str, str]

    def work_through(self, store: Store, options: RunOptions, library: Library, remote: "Remote") -> bool:
        """Train the cells, in a worker; see `work_through`. The last event is ``idle`` or ``leaves``.

        Returns:
            Whether this process may train further cells.
        """
        plan = make_plan(self.request, library)
        todo = longest_first([planned for planned in plan.cells if planned.cell.id in self.ids])
        stays = work_through(Job(plan, tuple(todo), self.seen), store, options, remote, replaceable=True)
        remote.send("idle" if stays else "leaves", "")
        return stays


class Remote(Silent, ABC):
    """A worker's reporter: sends everything to the crew."""

    @abstractmethod
    def send(self, *event: Any) -> None:
        """Send one event: its kind, the name of a cell or a line, and more."""

    def cell(self, name: str) -> None:
        """Send that a cell begins."""
        self.send("cell", name)

    def epoch(self, name: str, stage: str, done: int, epochs: int) -> None:
        """Send that an epoch has ended."""
        self.send("epoch", name, stage, done, epochs)

    def finished(self, name: str, outcome: str) -> None:
        """Send that a cell has ended."""
        self.send("finished", name, outcome)

    def say(self, line: str) -> None:
        """Send a line to print."""
        self.send("say", line)


class Crew(ABC, Generic[Worker]):
    """The workers. Each takes whatever cell no other process is training.

    Attributes:
        cells: for each worker, the cell that it is training.
        busy: the workers that have not reported the end of the job.
    """

    def __init__(self, store: Store, options: RunOptions, library: Library) -> None:
        self.store, self.options, self.library = store, options, library
        self.cells: dict[Worker, str | None] = {}
        self.busy: set[Worker] = set()
        self.deaths: Counter[str] = Counter()  # by cell; "": before any cell was begun

    @property
    def workers(self) -> int:
        """How many there are when there is enough to do."""
        return self.options.workers or 1

    @abstractmethod
    def start(self) -> Worker:
        """Start a worker."""

    @abstractmethod
    def send(self, worker: Worker, assignment: Assignment) -> bool:
        """Give a worker a job; False where it died while it was idle."""

    @abstractmethod
    def events(self) -> Iterator[tuple[Worker, Event | str]]:
        """Wait, and yield what busy workers report; for a worker that has died, the reason as text."""

    @abstractmethod
    def dismiss(self, worker: Worker) -> None:
        """End a worker that has no cell."""

    @abstractmethod
    def end(self) -> None:
        """End all workers, also in the middle of a cell."""

    def train(self, job: Job, listen: Reporter) -> None:
        """Have a job trained, replacing workers that die, until every cell has a record and every worker is idle.

        Raises:
            InputError, OSError: what would end a run without workers too, such as a full disk.
        """
        self.job, self.listen = job, listen
        self.todo = {str(planned.cell): planned for planned in job.todo}
        for worker in list(self.cells):
            self._assign(worker)
        while len(self.cells) < min(self.workers, len(self.todo)):
            self._add()
        while self.busy:
            for worker, event in self.events():
                if isinstance(event, str):
                    self._gone(worker, event)
                else:
                    self._hear(worker, *event)

    def _add(self) -> None:
        worker = self.start()
        self.cells[worker] = None
        self._assign(worker)

    def _assign(self, worker: Worker) -> None:
        ids = frozenset(planned.cell.id for planned in self.todo.values())
        if self.send(worker, Assignment(self.job.plan.request, ids, self.job.seen)):
            self.busy.add(worker)
        else:
            del self.cells[worker]

    def _hear(self, worker: Worker, kind: str, name: str, *details: Any) -> None:
        if kind == "idle":
            self.busy.remove(worker)
        elif kind == "leaves":
            self.busy.remove(worker)
            del self.cells[worker]
            self.dismiss(worker)
            if self.todo:
                self._add()
        elif kind == "ends the run":
            raise details[0]
        elif kind == "say":
            self.listen.say(name)
        elif kind == "cell":
            self.listen.cell(name)
            self.cells[worker] = name
            self.deaths[""] = 0
        elif kind == "epoch":
            self.listen.epoch(name, *details)
        else:  # every worker reports every cell; the first report counts
            self.cells[worker] = None
            if self.todo.pop(name, None):
                self.listen.finished(name, *details)

    def _gone(self, worker: Worker, reason: str) -> None:
        """A worker has died: its cell is queued again, at most twice, and another worker takes its place."""
        name = self.cells.pop(worker)
        self.busy.remove(worker)
        self.deaths[name or ""] += 1
        if name is None and self.deaths[""] > (most := AGAIN * self.workers):
            raise InputError(
                f"{most + 1} workers died before they began a cell; of the last one, {reason}; try --workers 1"
            )
        if name in self.todo and self.deaths[name] > AGAIN:
            planned = self.todo.pop(name)
            record = self.job.record(planned.cell, self.options, reason=f"{reason}, {AGAIN + 1} times", died=True)
            self.store.add(record)
            self.listen.finished(name, outcome(record))
        elif name in self.todo:
            self.listen.say(f"{name}: {reason}; queued again ({self.deaths[name]} of {AGAIN})")
        if self.todo:
            self._add()

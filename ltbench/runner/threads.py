"""Several runs in one process: the remaining cells, the threads that train them, and how many threads are worth it."""

import contextlib
import ctypes
import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ltbench.plan.expand import Planned
from ltbench.results.leases import Lease
from ltbench.results.store import Store
from ltbench.runner.options import MOST_RUNS

WORTH = 1.05
"""Doubling the number of runs is kept if all of them together become faster by at least this factor."""


def next_runs(speeds: Mapping[int, float]) -> int:
    """The next number of runs to try at once.

    The number is doubled until doubling no longer makes all runs together faster.

    Args:
        speeds: images/s of all runs together, for each number of runs tried so far.
    """
    *earlier, last = sorted(speeds)
    if earlier and speeds[last] < WORTH * speeds[earlier[-1]]:
        return earlier[-1]
    return min(2 * last, MOST_RUNS)


SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0
"""Between two looks at the cells that others are training."""


@dataclass
class Claim:
    """A cell that one thread is training.

    Attributes:
        locks: held for the cell and for its missing stages, so that no other thread or process trains them.
        together: the largest number of cells that this process trained at once meanwhile.
    """

    planned: Planned
    locks: list[Lease]
    together: int = 1


class Todo:
    """The remaining cells, for all threads of a process.

    Args:
        cells: in the order in which they are trained.
        store: holds the locks that all processes share.

    Attributes:
        most: the largest number of cells at once.
    """

    def __init__(self, cells: Sequence[Planned], store: Store) -> None:
        self.left, self.store = list(cells), store
        self.mine: list[Claim] = []
        self.most = MOST_RUNS
        self.guard = threading.Lock()

    def take(self, wanted: Callable[[], bool] = lambda: True) -> Claim | None:
        """Claim the next cell that no one else is training, nor any of its stages; waits for one.

        Args:
            wanted: called before each attempt; where it returns False, nothing is claimed.

        Returns:
            The claim, or None when no cell remains or none is wanted.
        """
        pause = SHORTEST_PAUSE_S
        while wanted():
            with self.guard:
                if not self.left:
                    return None
                for planned in self.left if len(self.mine) < self.most else ():
                    if locks := self._locks(planned):
                        self.left.remove(planned)
                        self.mine.append(Claim(planned, locks))
                        for claim in self.mine:
                            claim.together = max(claim.together, len(self.mine))
                        return self.mine[-1]
            time.sleep(pause)  # others are training all remaining cells
            pause = min(1.5 * pause, LONGEST_PAUSE_S)
        return None

    def fewer(self) -> int:
        """Train half as many cells at once from here on; returns how many."""
        with self.guard:
            self.most = max(1, len(self.mine) // 2)
            return self.most

    def give_back(self, claim: Claim, again: bool = False) -> None:
        """Release a claim, once its cell has a record or is to be trained ``again``."""
        with self.guard:
            self.mine.remove(claim)
            if again:
                self.left.insert(0, claim.planned)
        for lock in claim.locks:
            lock.release()

    def _locks(self, planned: Planned) -> list[Lease]:
        """The locks of a cell and of its missing stages, held; none where another thread or process holds one.

        The stages come first: many cells wait for a stage that another process trains, and their own locks are free.
        """
        missing = [stage.id for stage in planned.stages if not self.store.stage_path(stage.id).exists()]
        held: list[Lease] = []
        with contextlib.ExitStack() as released:  # where one is held elsewhere, or the disk is full
            for name in (*(f"claim-{stage}" for stage in missing), planned.cell.id):
                if (lock := self.store.try_lock(name)) is None:
                    return []
                released.callback(lock.release)
                held.append(lock)
            released.pop_all()
        return held


class _Run(threading.Thread):
    """A thread that keeps the exception that ended it, and that can be interrupted."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the thread, between two steps: at its next line of Python."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident or 0), ctypes.py_object(KeyboardInterrupt))


class Speed:
    """Measures the images per second of all runs together, while the number of runs stays the same.

    Args:
        clock: returns the time in seconds.
        seconds: shortest duration of a measurement.
        epochs: smallest number of epochs of every run before a measurement starts.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, seconds: float = 10.0, epochs: int = 3) -> None:
        self.clock, self.seconds, self.epochs = clock, seconds, epochs
        self.guard = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Start a new measurement."""
        with self.guard:
            self.since: float | None = None
            self.images = 0.0
            self.seen: dict[str, int] = {}

    def epoch(self, cell: str, images: float) -> None:
        """Count an epoch of a run."""
        with self.guard:
            self.seen[cell] = self.seen.get(cell, 0) + 1
            if self.since is not None:
                self.images += images

    def measured(self, runs: int) -> float | None:
        """Images per second, once so many runs have started and the measurement has lasted long enough; else None."""
        with self.guard:
            going = sum(count >= self.epochs for count in self.seen.values())
            if going < runs:
                return None
            if self.since is None:
                self.since, self.seen = self.clock(), {}
                return None
            passed = self.clock() - self.since
            return self.images / passed if passed >= self.seconds else None


class Together:
    """Threads that train side by side: a fixed number, or as many as make all of them together faster.

    Args:
        work: the work of each thread, given a function that returns whether the thread should go on.
        runs: number of threads; None: found by ``speed``.
        speed: counts every epoch.
    """

    def __init__(self, work: Callable[[Callable[[], bool]], None], runs: int | None, speed: Speed) -> None:
        self.work, self.fixed, self.speed = work, runs, speed
        self.wanted = runs or 1
        self.speeds: dict[int, float] = {}
        self.threads: list[_Run] = []

    def run(self) -> None:
        """Run the threads to their end.

        Raises:
            BaseException: the exception that ended a thread, or KeyboardInterrupt; the other threads are ended first.
        """
        try:
            while self._go_on():
                time.sleep(0.05)
        except BaseException:
            for thread in self.threads:
                thread.interrupt()
            for thread in self.threads:
                thread.join(timeout=60)
            raise

    def _wants(self, number: int) -> bool:
        return number < self.wanted

    def _go_on(self) -> bool:
        """Start missing threads; returns whether any thread is still working."""
        for thread in self.threads:
            if thread.error is not None:
                raise thread.error
        if self.fixed is None and self.wanted not in self.speeds:
            measured = self.speed.measured(self.wanted)
            if measured is not None:
                self.speeds[self.wanted] = measured
                self.wanted = next_runs(self.speeds)
                self.speed.begin()
        while len(self.threads) < self.wanted:
            wanted = functools.partial(self._wants, len(self.threads))
            self.threads.append(_Run(functools.partial(self.work, wanted)))
            self.threads[-1].start()
        return any(thread.is_alive() or thread.error is not None for thread in self.threads)

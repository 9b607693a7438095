"""Several runs in one process: the cells that are left, the threads that take them, and how many threads pay."""

import ctypes
import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from filelock import FileLock

from ltbench.plan.expand import Planned
from ltbench.results.store import Store

MOST_RUNS = 16
WORTH = 1.05
"""Twice as many runs are kept where all of them together become faster by this factor."""


def longest_first(cells: Sequence[Planned]) -> list[Planned]:
    """The cells in the order that leaves the shortest wait at the end.

    A cell's work counts its whole chain, so a stage that several cells share begins with the longest of them.
    """
    return sorted(cells, key=lambda planned: -planned.work)


def next_runs(speeds: Mapping[int, float]) -> int:
    """How many runs to have at once, after these speeds of all runs together (images/s) at each number tried.

    Doubles while that pays, then stays at the last number that did.
    """
    *earlier, last = sorted(speeds)
    if earlier and speeds[last] < WORTH * speeds[earlier[-1]]:
        return earlier[-1]
    return min(2 * last, MOST_RUNS)


@dataclass
class Claim:
    """A cell in the hands of one thread.

    Attributes:
        locks: held; they tell everybody else of the cell and of the stages that it needs and that nobody has trained.
        together: the most cells that this process had in hand at any moment of this one's training.
    """

    planned: Planned
    locks: list[FileLock]
    together: int = 1


class Todo:
    """The cells that are left, for all threads of a process.

    Args:
        cells: in the order in which they are to be taken.
        store: tells what other processes have in hand.
    """

    def __init__(self, cells: Sequence[Planned], store: Store) -> None:
        self.left, self.store = list(cells), store
        self.mine: list[Claim] = []
        self.guard = threading.Lock()

    def take(self, wanted: Callable[[], bool] = lambda: True) -> Claim | None:
        """The next cell that nobody has in hand and whose stages nobody trains; waits for one.

        Args:
            wanted: asked before each attempt; where it says no, nothing is taken.

        Returns:
            The claim, or None when nothing is left or wanted.
        """
        while wanted():
            with self.guard:
                if not self.left:
                    return None
                for planned in self.left:
                    if locks := self._locks(planned):
                        self.left.remove(planned)
                        self.mine.append(Claim(planned, locks))
                        for claim in self.mine:
                            claim.together = max(claim.together, len(self.mine))
                        return self.mine[-1]
            time.sleep(0.1)  # all that is left is in other hands
        return None

    def give_back(self, claim: Claim) -> None:
        """A cell that was taken is over."""
        with self.guard:
            self.mine.remove(claim)
        for lock in claim.locks:
            lock.release()

    def _locks(self, planned: Planned) -> list[FileLock]:
        """The locks of a cell and of its missing stages, held; none of them where somebody else has one."""
        missing = [stage.id for stage in planned.stages if not self.store.stage_path(stage.id).exists()]
        held: list[FileLock] = []
        for name in (planned.cell.id, *(f"claim-{stage}" for stage in missing)):
            lock = self.store.try_lock(name)
            if lock is None:
                for other in held:
                    other.release()
                return []
            held.append(lock)
        return held


class _Run(threading.Thread):
    """A thread that keeps what it died of, and that can be told to end."""

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
    """Images that all runs together train on in a second, at a number of runs that stays the same for a while.

    Args:
        clock: seconds, from any beginning.
        seconds, epochs: what a measurement lasts at least, and how many epochs it sees of every run at least.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, seconds: float = 10.0, epochs: int = 3) -> None:
        self.clock, self.seconds, self.epochs = clock, seconds, epochs
        self.guard = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Measure anew."""
        with self.guard:
            self.since: float | None = None
            self.images = 0.0
            self.seen: dict[str, int] = {}

    def epoch(self, cell: str, images: float) -> None:
        """A run has trained one epoch."""
        with self.guard:
            self.seen[cell] = self.seen.get(cell, 0) + 1
            if self.since is not None:
                self.images += images

    def measured(self, runs: int) -> float | None:
        """Images a second, once every one of so many runs has got going and has then been watched long enough."""
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
    """Threads that work side by side, a fixed number of them or as many as pay.

    Args:
        work: what each does until it is done, given a function that says whether it is still wanted.
        runs: how many; None: as many as pay, by ``speed``.
        speed: hears of every epoch.
    """

    def __init__(self, work: Callable[[Callable[[], bool]], None], runs: int | None, speed: Speed) -> None:
        self.work, self.fixed, self.speed = work, runs, speed
        self.wanted = runs or 1
        self.speeds: dict[int, float] = {}
        self.threads: list[_Run] = []

    def run(self) -> None:
        """Returns when all is done.

        Raises:
            BaseException: what one of the threads died of, or KeyboardInterrupt; all the others have then been ended.
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
        """Start the threads that are wanted; whether any is still at work."""
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

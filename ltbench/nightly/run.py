"""Spends a night, or makes what a night found the new baseline."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ltbench.engine.process import device_of
from ltbench.errors import InputError
from ltbench.nightly import learning, speed
from ltbench.nightly.baseline import Baseline
from ltbench.nightly.night import Night, new_folder, remember
from ltbench.plan.expand import make_plan
from ltbench.plan.request import Request
from ltbench.results.compared import Change
from ltbench.results.record import Environment, now
from ltbench.results.store import Store
from ltbench.runner.environment import environment
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter

Part = Literal["learning", "speed"]


@dataclass(frozen=True)
class Nightly:
    """What a night does.

    Attributes:
        request: the suite to train.
        how: device and processes.
        baseline: what the numbers are compared with.
        parent: folder of all nights.
        parts: learning, speed or both.
        listen: follows the progress.
    """

    request: Request
    how: RunOptions
    baseline: Baseline
    parent: Path
    parts: Collection[Part]
    listen: Reporter

    def spend(self) -> Night:
        """Train and measure, compare, and add a line to the history.

        Raises:
            InputError: where there is no baseline, or the benchmarks are not there; nothing was done then.
        """
        if "learning" in self.parts:
            self.baseline.records()
        created, where, folder = self._begin()
        started = time.monotonic()
        speeds = self._speeds(speed.machine(where)) if "speed" in self.parts else []
        changes: list[Change] = []
        broken: tuple[str, ...] = ()
        if "learning" in self.parts:
            plan = learning.train(self.request, self.how, folder, self.listen)
            changes, broken = learning.judge(plan, folder, self.baseline), tuple(plan.broken.values())
        night = Night(
            folder,
            created,
            where.revision,
            where.rounding,
            changes,
            learning.together(changes),
            speeds,
            time.monotonic() - started,
            broken,
        )
        remember(self.parent, night.line())
        return night

    def bless(self, because: str, night: Path | None = None) -> list[str]:
        """Spend a night and make what it found the new baseline.

        Args:
            because: why the new numbers are right.
            night: an earlier night whose accuracies are taken; None: train.

        Returns:
            What is new, one line each.

        Raises:
            InputError: where a cell or a benchmark failed; the baseline is as before then.
        """
        _, where, folder = self._begin()
        done = []
        if "learning" in self.parts:
            if night is None:
                learning.train(self.request, self.how, folder, self.listen)
            done.append(self._bless_learning(night or folder, because))
        if "speed" in self.parts:
            machine = speed.machine(where)
            done.append(self._bless_speed(machine))
            self.baseline.sign(because, where.revision, done[-1], machine)
        return [f"new baseline: {what}; commit {self.baseline.root}" for what in done]

    def _begin(self) -> tuple[str, Environment, Path]:
        """The time, the machine, and a new folder for the results."""
        if "speed" in self.parts:
            speed.check_installed()
        created, where = now(), environment(device_of(self.how.device), self.how.threads)
        return created, where, new_folder(self.parent, created[:10], where.revision)

    def _speeds(self, machine: str) -> list[speed.Speed]:
        limits = speed.read(self.baseline.speed).get(machine, {})
        if not limits:
            self.listen.say(
                f"speed: measured, but not compared, since there are no limits for {machine}; make them on a quiet "
                "machine with ltbench nightly --bless --no-learning --because TEXT"
            )
        self.listen.say("speed: measuring the benchmarks, about two minutes")
        found = speed.judge(speed.measure(self.how.device), limits)
        return speed.confirmed(found, self.how.device, limits)

    def _bless_learning(self, night: Path, because: str) -> str:
        plan, records = make_plan(self.request), Store(night).latest()
        lost = [str(p.cell) for p in plan.cells if p.cell.id not in records or records[p.cell.id].result is None]
        if lost or plan.broken:
            raise InputError(
                f"nothing was blessed: {len(lost)} cells have no result of the code at hand ({[*lost, *plan.broken][0]}"
                f"); see ltbench status --results {night}"
            )
        new = [records[planned.cell.id] for planned in plan.cells]
        self.baseline.replace(learning.blessed(plan, list(self.baseline.store.latest().values())), new)
        what, trained = f"{len(new)} cells of suite {plan.suite.name}", new[0].finished.environment
        self.baseline.sign(because, trained.revision, what, trained.rounding)
        return what

    def _bless_speed(self, machine: str) -> str:
        runs: dict[str, list[float]] = {}
        for number in range(speed.RUNS):
            self.listen.say(f"speed: run {number + 1} of {speed.RUNS}")
            for name, ratio in speed.measure(self.how.device).items():
                if ratio is None:
                    raise InputError(f"no speed was blessed: {name} failed; see pytest {speed.FILE}")
                runs.setdefault(name, []).append(ratio)
        speed.write(self.baseline.speed, machine, speed.limits_of(runs))
        return f"limits of {len(runs)} benchmarks on {machine}"

"""Progress of a run: bars in a terminal, one bar in a notebook, plain lines on stderr elsewhere."""

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from ltbench.errors import printable
from ltbench.plan.expand import PlannedStage
from ltbench.units import duration

Work = Mapping[str, Sequence[PlannedStage]]
"""For each cell, by name, the stages of its chain that are not trained yet."""


class Reporter(Protocol):
    """Receives the events of a run."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, line: str) -> None:
        """Print one line."""

    def begin(self, work: Work) -> None:
        """A run begins, with these cells."""

    def cell(self, name: str) -> None:
        """A cell begins."""

    def epoch(self, name: str, stage: str, done: int, epochs: int) -> None:
        """An epoch of a running cell has ended; ``done`` of ``epochs`` of this stage are complete."""

    def finished(self, name: str, outcome: str) -> None:
        """A cell has ended."""


class Silent:
    """Prints nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, line: str) -> None: ...  # noqa: D102
    def begin(self, work: Work) -> None: ...  # noqa: D102
    def cell(self, name: str) -> None: ...  # noqa: D102
    def epoch(self, name: str, stage: str, done: int, epochs: int) -> None: ...  # noqa: D102
    def finished(self, name: str, outcome: str) -> None: ...  # noqa: D102


class TimeLeft:
    """Estimates when a run ends: work that is left takes as long as that which is done. Shared stages count once.

    The clock starts after the first epoch, so that the start of workers does not count.
    """

    def __init__(self, work: Work) -> None:
        self.of_cells, self.started = work, 0.0
        self.left = {stage.id: stage.work for stages in work.values() for stage in stages}
        self.all = sum(self.left.values())
        self.begun: set[str] = set()

    def epoch(self, cell: str, name: str, done: int, epochs: int) -> float:
        """Seconds that are left once ``done`` of the epochs of a stage are complete; 0 where that is not known."""
        for stage in self.of_cells.get(cell, ()):
            if stage.name == name and stage.id in self.left and epochs:
                if stage.id not in self.begun:  # the epochs of an earlier run, from whose checkpoint it goes on
                    self.begun.add(stage.id)
                    self.all -= stage.work * (done - 1 if self.started else done) / epochs
                self.left[stage.id] = stage.work * (1 - done / epochs)
        self.started = self.started or time.monotonic()
        return self._seconds()

    def after(self, cell: str) -> float:
        """Seconds that are left once a cell has ended; 0 where that is not known either."""
        for stage in self.of_cells.get(cell, ()):
            self.left.pop(stage.id, None)
        return self._seconds()

    def _seconds(self) -> float:
        left = sum(self.left.values())
        done = self.all - left
        return (time.monotonic() - self.started) * left / done if self.started and done > 0 else 0.0


class Lines(Silent):
    """One line per cell on stderr, with the remaining time."""

    def begin(self, work: Work) -> None:  # noqa: D102
        self.cells, self.done, self.time = len(work), 0, TimeLeft(work)

    def epoch(self, name: str, stage: str, done: int, epochs: int) -> None:  # noqa: D102
        self.time.epoch(name, stage, done, epochs)

    def say(self, line: str) -> None:  # noqa: D102
        print(printable(line), file=sys.stderr, flush=True)

    def finished(self, name: str, outcome: str) -> None:  # noqa: D102
        self.done += 1
        left = self.time.after(name)
        self.say(f"[{self.done}/{self.cells}] {name}: {outcome}" + (f"; {duration(left)} left" if left > 0 else ""))


class _Left(TimeRemainingColumn):
    """The remaining time: of the suite by the work of its cells, of a cell by its epochs."""

    def render(self, task: Task) -> Text:
        """The time as a text."""
        if task.finished or "ends" not in task.fields:
            return super().render(task)
        return Text(duration(max(task.fields["ends"] - time.monotonic(), 0)), style="progress.remaining")


class Bars(Silent):
    """One bar for the suite and one for each running cell, on stderr."""

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Left(elapsed_when_finished=True),
            console=Console(stderr=True),
            expand=True,
        )

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def say(self, line: str) -> None:  # noqa: D102
        self.progress.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)

    def begin(self, work: Work) -> None:  # noqa: D102
        self.suite, self.time = self.progress.add_task("suite", total=len(work)), TimeLeft(work)
        self.running: dict[str, TaskID] = {}

    def cell(self, name: str) -> None:  # noqa: D102
        self.running[name] = self.progress.add_task(name, total=None)

    def epoch(self, name: str, stage: str, done: int, epochs: int) -> None:  # noqa: D102
        self.progress.update(self.running[name], description=f"{name} · {stage}", completed=done, total=epochs)
        self._show(self.time.epoch(name, stage, done, epochs))

    def finished(self, name: str, outcome: str) -> None:  # noqa: D102
        if name in self.running:
            self.progress.remove_task(self.running.pop(name))
        self.progress.update(self.suite, advance=1)
        self._show(self.time.after(name))
        self.say(f"{name}: {outcome}")

    def _show(self, left: float) -> None:
        """Show the remaining seconds of the suite, where they are known."""
        if left > 0:
            self.progress.update(self.suite, ends=time.monotonic() + left)


class Notebook(Silent):
    """One bar of tqdm's, with the running cell and the remaining time; a line below it for each cell that has ended."""

    def say(self, line: str) -> None:  # noqa: D102
        print(printable(line), flush=True)

    def begin(self, work: Work) -> None:  # noqa: D102
        from tqdm.auto import tqdm

        form = "{desc}: {n_fmt}/{total_fmt}|{bar}| {elapsed}{postfix}"
        self.bar = tqdm(total=len(work), desc="cells", bar_format=form, disable=not work)
        self.time, self.left = TimeLeft(work), ""

    def epoch(self, name: str, stage: str, done: int, epochs: int) -> None:  # noqa: D102
        self._keep(self.time.epoch(name, stage, done, epochs))
        self.bar.set_postfix_str(printable(f"{self.left}{name} · {stage} {done}/{epochs}"))

    def finished(self, name: str, outcome: str) -> None:  # noqa: D102
        self._keep(self.time.after(name))
        self.bar.update()
        self.say(f"{name}: {outcome}")

    def _keep(self, left: float) -> None:
        """Keep the remaining seconds, to be shown."""
        self.left = f"{duration(left)} left; " if left > 0 else ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()


def reporter() -> Reporter:
    """The reporter for this place: one bar in a notebook, bars on stderr where that is a terminal, lines elsewhere."""
    if _in_notebook():
        return Notebook()
    return Bars() if sys.stderr.isatty() else Lines()


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in shell.config

"""Trains the cells of a job in this process, one after another or several at once."""

import contextlib
import copy
import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from ltbench.data import LongTailed, cut
from ltbench.errors import one_line
from ltbench.loaded import mixed
from ltbench.plan.cell import Cell
from ltbench.plan.expand import Plan, Planned
from ltbench.results.leases import Lost
from ltbench.results.record import Record, Result
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter
from ltbench.runner.threads import Claim, Speed, Todo, Together
from ltbench.units import mebibytes


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


def compute_features(cells: Sequence[Planned], options: RunOptions, listen: Reporter) -> None:
    """Compute the features of frozen backbones in this process, before any cell is trained."""
    if any(planned.cell.recipe.frozen for planned in cells):
        import torch

        from ltbench.runner import inputs

        inputs.compute_features(cells, torch.device(options.first_device), listen.say)


def work_through(job: Job, store: Store, options: RunOptions, listen: Reporter, replaceable: bool = False) -> bool:
    """Train the cells of a job, one after another or several at once, without those that other processes train.

    Args:
        job: the cells.
        store: of their records.
        options: resolved.
        listen: follows the progress.
        replaceable: stop after a cell that changed the state of this process, and with ``options.isolate`` before a
            cell of another method; another process trains the rest.

    Returns:
        Whether this process may train further cells.
    """
    return _Work(job, store, options, listen, replaceable).through()


class _Work:
    """The cells of a job that this process trains; the arguments are those of `work_through`.

    Attributes:
        taken: the methods of the cells that it has begun.
    """

    def __init__(self, job: Job, store: Store, options: RunOptions, listen: Reporter, replaceable: bool) -> None:
        self.job, self.store, self.options, self.listen, self.replaceable = job, store, options, listen, replaceable
        self.todo, self.speed = Todo(job.todo, store), Speed()
        self.reporting, self.cutting = threading.Lock(), threading.Lock()
        self.cuts = functools.lru_cache(maxsize=4)(cut)
        self.taken: set[str] = set()

    def through(self) -> bool:
        """Train all cells; returns whether this process may train further ones."""
        import torch

        from ltbench.engine.process import numerics, prepare
        from ltbench.method.state import Guard
        from ltbench.runner import inputs, one_cell  # noqa: F401  # everything that trains, before it is compared

        if mixed():
            return True  # the end of the run says why
        prepare()
        torch.set_num_threads(self.options.threads)
        if torch.device(self.options.device).type == "cuda":
            torch.cuda.init()  # so that the guard sees the generators of all GPUs from the start
        with contextlib.nullcontext() if self.replaceable else _exit_as_error():
            if self.options.runs_per_device == 1:
                self.guard = Guard()
                self.take_turns(self.wanted)
                return not (self.replaceable and (self.guard.changes or self.options.isolate))
            runs = None if self.options.runs_per_device == "auto" else self.options.runs_per_device
            with numerics(strict=self.job.plan.suite.recipe.precision == "fp32-strict"):
                self.guard = Guard()
                Together(self.take_turns, runs, self.speed).run()
        return True

    def wanted(self) -> bool:
        """Whether this process should take another cell."""
        if self.replaceable and self.options.isolate and self.taken:
            self.todo.left = [planned for planned in self.todo.left if planned.cell.method in self.taken]
        return not (self.replaceable and self.guard.changes)

    def take_turns(self, wanted: Callable[[], bool]) -> None:
        """Train one cell after another, in one thread."""
        import torch

        from ltbench.engine.process import own_stream

        with own_stream(torch.device(self.options.device)):
            while (claim := self.todo.take(wanted)) is not None:
                try:
                    found = self.recorded(claim)
                except torch.OutOfMemoryError:  # not alone: again, with fewer beside it
                    what = f"out of GPU memory with {claim.together} runs at once{_used(self.options)}"
                    self.say(f"{claim.planned.cell}: {what}; at most {self.todo.fewer()} from here on")
                    self.todo.give_back(claim, again=True)
                except Lost as lost:
                    self.say(f"{claim.planned.cell}: {lost}")
                    self.todo.give_back(claim, again=True)
                except BaseException:
                    self.todo.give_back(claim)
                    raise
                else:
                    self.todo.give_back(claim)
                    with self.reporting:
                        self.listen.finished(str(claim.planned.cell), outcome(found))

    def recorded(self, claim: Claim) -> Record:
        """The record of a cell, made here unless another process was faster."""
        cell = claim.planned.cell
        self.taken.add(cell.method)
        found = self.store.latest(cell.id).get(cell.id)
        if found is None or found.created == self.job.seen.get(cell.id):
            with self.reporting:
                self.listen.cell(str(cell))
            found = self.guarded(claim)
            self.store.add(found)
        return found

    def guarded(self, claim: Claim) -> Record:
        """Train a cell; where it changed the state of this process, or loaded edited code, it leaves no stage."""
        noted, before = len(self.guard.changes), _stages(self.store, claim.planned)
        found = self.trained(claim)
        reason = None
        if changed := self.guard.changed_since(noted):
            beside = " (or a cell that was trained beside it did)" if claim.together > 1 else ""
            reason = f"changed {changed}{beside}; other methods would give other numbers after it"
        elif files := mixed():
            reason = f"loaded {', '.join(files)}, which was edited after the run began; repeat the command"
        if reason:
            for path, written in _stages(self.store, claim.planned).items():
                if written != before.get(path):
                    path.unlink(missing_ok=True)  # a stage that was trained like this is never reused
            return self.job.record(claim.planned.cell, self.options, reason=reason)
        return found

    def trained(self, claim: Claim) -> Record:
        """Train a cell; its record, also where it fails."""
        import torch

        from ltbench.runner.inputs import inputs
        from ltbench.runner.one_cell import run_cell

        planned, options, device = claim.planned, self.options, torch.device(self.options.device)
        try:
            result = run_cell(
                planned.cell,
                copy.deepcopy(planned.methods),  # ``setup`` changes them for this cell's class counts
                self.data(planned),
                inputs(planned, device)[1],
                self.store,
                device=device,
                checkpoint_every_s=options.checkpoint_every_s,
                on_epoch=functools.partial(self.on_epoch, planned),
                tier=options.tier,
                images_in=options.images_in,
                processes=options.workers or 1,
            )
        except (KeyboardInterrupt, Lost):
            raise
        except torch.OutOfMemoryError as error:
            if claim.together > 1:
                raise
            return self.job.record(planned.cell, options, reason=_out_of_memory(planned.cell, options, error))
        except BaseException as error:  # one cell that fails, or calls sys.exit, must not stop the others
            return self.job.record(planned.cell, options, reason=one_line(error))
        return self.job.record(planned.cell, options, result=_beside(result, claim.together))

    def data(self, planned: Planned) -> LongTailed:
        """The images of a cell."""
        import torch

        from ltbench.runner.inputs import inputs

        cell = planned.cell
        images, test = inputs(planned, torch.device(self.options.device))
        with self.cutting:
            found = self.cuts(images, cell.imbalance, cell.subset_seed, cell.holdout)
        return replace(found, test=test()) if cell.recipe.test_curve and test else found

    def on_epoch(self, planned: Planned, stage: int, done: int, epochs: int) -> None:
        """Count and report an epoch."""
        self.speed.epoch(str(planned.cell), planned.work_an_epoch)
        with self.reporting:
            self.listen.epoch(str(planned.cell), planned.stages[stage].name, done, epochs)

    def say(self, line: str) -> None:
        """Report a line."""
        with self.reporting:
            self.listen.say(line)


@contextlib.contextmanager
def _exit_as_error() -> Iterator[None]:
    """Make ``os._exit`` raise SystemExit in this process, so that a method that calls it fails and the run goes on."""
    end, mine = os._exit, os.getpid()

    def leave(status: int) -> NoReturn:
        if os.getpid() == mine:
            raise SystemExit(status)
        end(status)

    os._exit = leave
    try:
        yield
    finally:
        os._exit = end


def _stages(store: Store, planned: Planned) -> dict[Path, int]:
    """When each stage of a cell that the store has was written, in ns, by file."""
    paths = (store.stage_path(stage.id) for stage in planned.stages)
    return {path: path.stat().st_mtime_ns for path in paths if path.exists()}


def _out_of_memory(cell: Cell, options: RunOptions, error: BaseException) -> str:
    """Why a cell that was alone on its device did not fit, and what would have fitted."""
    from ltbench.engine.memory import OutOfMemory, largest_batch

    size, used = cell.recipe.batch_size, _used(options)
    fits = largest_batch(error.running) if isinstance(error, OutOfMemory) else None
    if fits is None:
        fits, why = max(2, size // 2), "half the batch needs about half of it"
    else:
        why = f"about {fits} would have fitted, by the memory of steps with {size // 8} and {size // 4}"
    return (
        f"out of GPU memory with a batch of {size}{used}; {why} (--set recipe.batch_size={fits}), and "
        "--images-in host leaves the images in the computer's memory"
    )


def _used(options: RunOptions) -> str:
    """The memory that this process used at most on its GPU, in words; empty on a CPU."""
    import torch

    device = torch.device(options.device)
    if device.type != "cuda":
        return ""
    most, total = torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[1]
    return f" ({mebibytes(most)} of {mebibytes(total)} used)"


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

"""One cell, from data to result: its stages trained or taken from the store, its predictions measured."""

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from ltbench.data import LongTailed, Split
from ltbench.engine.batches import held_out
from ltbench.engine.evaluate import predictions
from ltbench.engine.image_source import Place
from ltbench.engine.memory import OutOfMemory
from ltbench.engine.networks import trained_network
from ltbench.engine.process import numerics
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.task import Task, Tier
from ltbench.engine.train import train_stage
from ltbench.method.contract import Method, Stage
from ltbench.plan.cell import Cell
from ltbench.results.record import Result
from ltbench.results.store import Store
from ltbench.runner.checkpoint import StageFiles
from ltbench.runner.environment import environment
from ltbench.runner.measure import Measurement, Phase, result_of


def run_cell(
    cell: Cell,
    methods: Sequence[Method],
    data: LongTailed,
    test: Callable[[], Split] | None,
    store: Store,
    *,
    device: torch.device,
    checkpoint_every_s: float,
    on_epoch: Callable[[int, int, int], None],
    tier: Tier = "eager",
    images_in: Place | Literal["auto"] = "auto",
    processes: int = 1,
) -> Result:
    """Train the stages of a cell that the store lacks, then read the test images and measure the last one.

    Args:
        cell: the training run.
        methods: the methods of its chain.
        data: the long-tailed data set; without test images, unless the recipe asks for a test curve.
        test: reads the test images; None: measure on the validation images.
        store: where stages are looked up and stored, and the arrays.
        device: where to train.
        checkpoint_every_s: seconds between checkpoints.
        on_epoch: called after each epoch with (index of the stage, epochs done, epochs); once for a stage that is
            reused.
        tier: the highest tier that steps may run in.
        images_in: where the images are stored while training.
        processes: number that share this machine.

    Raises:
        TrainingFailed: when a loss or a logit is not finite.
        torch.OutOfMemoryError: where the memory of the device is too small.
    """
    started = time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    task = Task.of(
        data,
        cell.recipe.on_features() if cell.recipe.frozen else cell.recipe,
        cell.seed,
        device,
        tier=tier,
        images_in=images_in,
        processes=processes,
        environment=environment(device).rounding,
    )
    phases: list[Phase] = []
    for number, method in enumerate(methods):
        for index, stage in enumerate(method.stages()):
            before = phases[-1].state if phases else None
            notify = functools.partial(on_epoch, len(phases))
            own = number == len(methods) - 1
            evaluates = cell.recipe.evaluation if own else None
            files = StageFiles(store, cell.stage_id(number, index), device, checkpoint_every_s, evaluates)
            state, reused = _stage(files, method, stage, len(phases), task, before, notify)
            phases.append(Phase(method.name, stage.name, state, reused, own))
    measured = _measured(methods[-1], task, phases[-1].state, test)
    arrays = store.write_arrays(cell.id, measured.arrays)
    return result_of(task, phases, measured, arrays, cell.relative_cost, time.perf_counter() - started)


def _measured(method: Method, task: Task, state: State, test: Callable[[], Split] | None) -> Measurement:
    """What the stored networks of the last stage predict: after its last epoch, and after the best on validation."""
    began = time.perf_counter()
    split = task.data.val if test is None else test()
    assert split is not None
    images = held_out(split, task.recipe, task.images_in, task.device)
    best = state["best"]
    epochs = {state["epoch"]: state["network"]} | ({best["epoch"]: best["network"]} if best else {})
    with numerics(strict=task.recipe.precision == "fp32-strict"):
        found = {
            epoch: predictions(method, trained_network(method, task, network), task, images, epoch)
            for epoch, network in epochs.items()
        }
    return Measurement(
        split="val" if test is None else "test",
        labels=split.labels,
        last=found[state["epoch"]],
        best=(best["epoch"], found[best["epoch"]]) if best else None,
        seconds=time.perf_counter() - began,
    )


def _stage(
    files: StageFiles,
    method: Method,
    stage: Stage,
    position: int,
    task: Task,
    before: State | None,
    on_epoch: Callable[[int, int], None],
) -> tuple[State, bool]:
    """The state of a trained stage, and whether it was in the store.

    Raises:
        OutOfMemory: where the memory of the device is too small to train it.
    """
    with files.locked():
        if (state := files.finished.load()) is not None:
            epochs = task.recipe.stage_epochs(stage.epochs)
            on_epoch(epochs, epochs)
            return state, True
        running = RunningStage(method, stage, position, task, before)
        with contextlib.suppress(torch.OutOfMemoryError):  # it holds the memory of the step that failed
            state = _to_cpu(train_stage(running, files.partial, on_epoch))
            files.finished.save(state)
            files.partial.path.unlink(missing_ok=True)
            return state, False
        raise OutOfMemory(running)


def _to_cpu(state: State) -> State:
    return state | {"network": {name: value.cpu().contiguous() for name, value in state["network"].items()}}

"""One cell, from data to result: its stages trained or taken from the store, its predictions measured."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch

from ltbench.data import LongTailed
from ltbench.engine.image_source import Place
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.task import Task, Tier
from ltbench.engine.train import train_stage
from ltbench.method.contract import Method, Stage
from ltbench.plan.cell import Cell
from ltbench.results.record import Result
from ltbench.results.store import Store
from ltbench.runner.checkpoint import StageFiles
from ltbench.runner.measure import Phase, result_of


def run_cell(
    cell: Cell,
    methods: Sequence[Method],
    data: LongTailed,
    store: Store,
    *,
    device: torch.device,
    checkpoint_every_s: float,
    on_epoch: Callable[[str, int, int], None],
    tier: Tier = "eager",
    images_in: Place | Literal["auto"] = "auto",
    processes: int = 1,
) -> Result:
    """Train the stages of a cell that the store lacks, and measure the last one.

    Args:
        cell: the training run.
        methods: the methods of its chain.
        data: the long-tailed data set.
        store: where stages are looked up and stored, and the arrays.
        device: where to train.
        checkpoint_every_s: seconds between checkpoints.
        on_epoch: called after each epoch with (stage, epochs done, epochs); once for a stage that is reused.
        tier: the highest tier that steps may run in.
        images_in: where the images are stored while training.
        processes: number that share this machine.

    Raises:
        TrainingFailed: when a loss is not finite.
    """
    started = time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    task = Task.of(data, cell.recipe, cell.seed, device, tier=tier, images_in=images_in, processes=processes)
    phases: list[Phase] = []
    for number, method in enumerate(methods):
        for index, stage in enumerate(method.stages()):
            before = phases[-1].state if phases else None
            notify = functools.partial(on_epoch, f"{method.name}: {stage.name}")
            files = StageFiles(store, cell.stage_id(number, index), device, checkpoint_every_s)
            state, reused = _stage(files, method, stage, len(phases), task, before, notify)
            phases.append(Phase(stage.name, state, reused, own=number == len(methods) - 1))
    measured, split = data.measured
    logits = phases[-1].state["logits"][measured].numpy()
    classes = np.min_scalar_type(logits.shape[1] - 1)
    predicted = logits.argmax(axis=1).astype(classes)
    store.write_arrays(cell.id, {"logits": logits, "labels": split.labels.astype(classes), "predicted": predicted})
    return result_of(cell, methods[-1], task, phases, time.perf_counter() - started)


def _stage(
    files: StageFiles,
    method: Method,
    stage: Stage,
    position: int,
    task: Task,
    before: State | None,
    on_epoch: Callable[[int, int], None],
) -> tuple[State, bool]:
    """The state of a trained stage, and whether it was in the store."""
    with files.locked():
        if (state := files.finished.load()) is not None:
            epochs = task.recipe.stage_epochs(stage.epochs)
            on_epoch(epochs, epochs)
            return state, True
        running = RunningStage(method, stage, position, task, before)
        state = _to_cpu(train_stage(running, files.partial, on_epoch))
        files.finished.save(state)
        files.partial.path.unlink(missing_ok=True)
        return state, False


def _to_cpu(state: State) -> State:
    return state | {"network": {name: value.cpu().contiguous() for name, value in state["network"].items()}}

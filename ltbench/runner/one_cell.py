"""One cell, from data to record: its stages trained or taken from the store, its predictions measured."""

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ltbench.data import LongTailed
from ltbench.engine.image_source import Place
from ltbench.engine.train import State, Task, Tier, stage_epochs, take_over, train_stage
from ltbench.method.contract import Method, Stage
from ltbench.metrics import shot_groups, summary
from ltbench.models.network import Network, initialised_backbone
from ltbench.plan.cell import Cell
from ltbench.plan.recipe import FAMILIES
from ltbench.randomness import key, seeded
from ltbench.results.store import Record, Store
from ltbench.runner.checkpoint import StageFiles
from ltbench.runner.environment import environment, peak_memory_bytes


def run_cell(
    cell: Cell,
    methods: Sequence[Method],
    data: LongTailed,
    store: Store,
    device: torch.device,
    checkpoint_every_s: float,
    on_epoch: Callable[[str, int, int], None],
    tier: Tier = "eager",
    images_in: Place | Literal["auto"] = "auto",
    processes: int = 1,
) -> Record:
    """Train a cell, or what of it is missing, and measure it.

    Args:
        cell: what to train.
        methods: the methods of its chain.
        data: the long-tailed data set.
        store: where stages are looked up and kept, and where the arrays go.
        device: where to train.
        checkpoint_every_s: seconds between checkpoints.
        on_epoch: called after each epoch with (stage, epochs done, epochs); at once for a stage that is reused.
        tier: the highest in which steps are to run.
        images_in: where images are to lie.
        processes: that share this machine.

    Returns:
        The record of the finished cell, not yet in the store.

    Raises:
        TrainingFailed: when a loss is not finite.
    """
    started = time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    task = Task.of(data, cell.recipe, cell.seed, device, tier, images_in, processes)
    phases: list[Phase] = []
    for number, method in enumerate(methods):
        for index, stage in enumerate(method.stages()):
            before = phases[-1].state if phases else None
            notify = functools.partial(on_epoch, f"{method.name}: {stage.name}")
            files = StageFiles(store, cell.stage_id(number, index), device, checkpoint_every_s)
            state, reused = _stage(files, method, stage, len(phases), task, before, notify)
            phases.append(Phase(stage.name, state, reused, own=number == len(methods) - 1))
    own = [(phase.stage, phase.state) for phase in phases if phase.own]
    state = phases[-1].state
    measured, split = data.measured
    logits = state["logits"][measured].numpy()
    classes = np.min_scalar_type(logits.shape[1] - 1)
    store.write_arrays(
        cell.id,
        {
            "logits": logits,
            "labels": split.labels.astype(classes),
            "predicted": logits.argmax(axis=1).astype(classes),
        },
    )
    return {
        **header(cell),
        "status": "done",
        "reason": None,
        **measurements(data, cell.shots, own),
        "image": list(data.train.images.shape[1:]),
        "images_in": task.images_in,
        "published": published(cell, methods[-1]),
        "parameters": sum(v.numel() for k, v in state["network"].items() if not k.endswith(("_mean", "_var"))),
        "losses": [{"stage": name, "loss": part["losses"]} for name, part in own],
        "cost": cost(phases)
        | {
            "relative_cost": methods[-1].cost,
            "wall_seconds": time.perf_counter() - started,
            "peak_memory_bytes": peak_memory_bytes(device),
        },
        "tiers": [{"stage": name, "tier": part["tier"], "reason": part["tier_reason"]} for name, part in own],
        "environment": environment(device),
    }


@dataclass(frozen=True, eq=False)
class Phase:
    """A stage that is over: its state, whether it was in the store, and whether it is the cell's own method's."""

    stage: str
    state: State
    reused: bool
    own: bool


def cost(phases: Sequence[Phase]) -> dict[str, float]:
    """What a cell costs: trained from the start (``train_seconds``), and how much of that was reused."""

    def total(name: str, among: Iterable[Phase]) -> float:
        return float(sum(phase.state[name] for phase in among))

    done_here = [phase for phase in phases if not phase.reused]
    seconds, images = total("train_seconds", phases), total("images", phases)
    return {
        "train_seconds": seconds,
        "evaluation_seconds": total("evaluation_seconds", phases),
        "reused_seconds": total("train_seconds", [phase for phase in phases if phase.reused]),
        "work_seconds": total("train_seconds", done_here) + total("evaluation_seconds", done_here),
        "images": int(images),
        "images_per_second": images / max(seconds, 1e-9),
    }


def _stage(
    files: StageFiles,
    method: Method,
    stage: Stage,
    position: int,
    task: Task,
    before: State | None,
    on_epoch: Callable[[int, int], None],
) -> tuple[State, bool]:
    """A stage's state, and whether it was in the store."""
    with files.locked():
        if (state := files.finished.load()) is not None:
            epochs = stage_epochs(stage, task.recipe)
            on_epoch(epochs, epochs)
            return _to_cpu(state), True
        net = network(method, task, position)
        if before is not None:
            take_over(net, before, stage)
        net.to(task.device).to(memory_format=torch.channels_last)
        if task.tier == "compiled":
            net.backbone.compile()
        state = _to_cpu(train_stage(net, method, stage, position, task, files.partial, on_epoch))
        files.finished.save(state)
        files.partial.path.unlink(missing_ok=True)
        return state, False


def _to_cpu(state: State) -> State:
    return state | {"network": {name: value.cpu().contiguous() for name, value in state["network"].items()}}


def network(method: Method, task: Task, position: int) -> Network:
    """A fresh network for a method: all methods of one seed begin with the same backbone."""
    height, length, channels = task.data.train.images.shape[1:]
    branches = [key(task.seed, "backbone", *([k] if k else [])) for k in range(method.branches)]
    size = task.recipe.input_size(height, length)
    backbone, width = initialised_backbone(task.recipe.backbone, channels, size, branches)
    heads = {}
    for name in method.heads:
        with seeded(key(task.seed, "head", name, position)):
            heads[name] = method.build_head(name, width, len(task.data.counts))
    return Network(backbone, heads)


def header(cell: Cell) -> Record:
    """What every record of a cell begins with, finished or failed."""
    return {
        "id": cell.id,
        "row": cell.row,
        **cell.describe(),
        "shots": list(cell.shots) if isinstance(cell.shots, tuple) else cell.shots,
        "settings": {
            "recipe": cell.recipe.identity(),
            "chain": [[link.method, link.source, dict(link.hyperparameters)] for link in cell.chain],
        },
    }


def published(cell: Cell, method: Method) -> list[Any] | None:
    """Accuracy and source of the paper's own figure for this very comparison, if there is one."""
    asked = (cell.label, str(cell.imbalance), cell.recipe.backbone, FAMILIES.get(cell.recipe.label))
    for figure in method.published:
        if (figure.dataset, figure.imbalance, figure.backbone, figure.family) == asked and not cell.changed:
            return [figure.accuracy, f"{figure.source}, grade {figure.grade}"]
    return None


def measurements(data: LongTailed, shots: str | tuple[int, int], own: list[tuple[str, State]]) -> Record:
    """What the evaluations of a cell's own stages say, under each of the three protocols.

    ``last`` is the last epoch; ``val`` the epoch of the final stage with the best balanced accuracy on the validation
    split (absent without one); ``best-on-test`` the same on the test split, which is optimistic. Where there is no
    test split, all numbers are of the validation split, and ``measured_on`` says so.
    """
    classes = len(data.counts)
    groups = shot_groups(data.counts, shots)
    splits = {"test": data.test, "val": data.val}
    totals = {name: split.counts(classes) for name, split in splits.items() if split is not None}
    measured, _ = data.measured

    def summaries(entry: dict[str, Any]) -> dict[str, Any]:
        return {"epoch": entry["epoch"]} | {s: summary(entry[s], n, groups) for s, n in totals.items()}

    evaluations = [{"stage": name} | summaries(e) for name, state in own for e in state["evaluations"]]
    final = evaluations[-len(own[-1][1]["evaluations"]) :]

    def best(split: str) -> dict[str, Any]:
        return max(final, key=lambda e: e[split]["balanced_accuracy"])

    names = {"test": "best-on-test", "val": "val"}
    chosen = {"last": final[-1]} | {names[split]: best(split) for split in totals}
    last = own[-1][1]["evaluations"][-1]
    return {
        "class_counts": list(data.counts),
        "measured_on": measured,
        "test_counts": totals[measured],
        "groups": {name: len(members) for name, members in groups.items()},
        "hits": last[measured]["hits"],
        "protocols": {name: {"epoch": e["epoch"]} | e[measured] for name, e in chosen.items()},
        "evaluations": evaluations,
    }

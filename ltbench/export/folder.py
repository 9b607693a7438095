"""Writes a trained cell as a model in a folder of its own."""

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from ltbench.data import cut
from ltbench.engine.image_source import CPU
from ltbench.engine.stage import trained_network
from ltbench.engine.task import Task
from ltbench.errors import InputError
from ltbench.export import predict
from ltbench.export.program import Program, traced
from ltbench.plan.expand import Library, Planned, make_plan
from ltbench.plan.repeat import request_of
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.runner.checkpoint import StageFile
from ltbench.tuning.tune import winners

CHECKED = 500
"""Images whose predictions are compared with those of the record."""


@dataclass(frozen=True)
class Agreement:
    """How far an exported model predicts what the record says.

    Attributes:
        images: compared.
        equal: of them, those with the same predicted class.
        furthest: largest distance between two logits; the stored ones are rounded to 16 bits.
    """

    images: int
    equal: int
    furthest: float


def planned_of(record: Record, results: Path) -> Planned:
    """The cell of a record with everything that it was trained with.

    Raises:
        InputError: when its images or methods are not there any more, or are others than they were.
    """
    request, tuned = request_of(record.command)
    library = Library()
    if tuned:
        request = replace(request, variants=winners(request, results, library))
    for planned in make_plan(request, library).cells:
        if planned.cell.id == record.id:
            return planned
    raise InputError(
        f"cell {record.id} cannot be made again, since its code or images changed; see ltbench verify {record.id}"
    )


def export(record: Record, store: Store, folder: Path, card: Callable[[Agreement], str]) -> Agreement:
    """Write the network of a finished cell, the program that predicts with it, and a script, into a folder.

    Args:
        record: of the cell.
        store: with its trained network.
        folder: which must not exist, or be empty.
        card: the text of ``README.md``.

    Raises:
        InputError: when the network is not stored any more, the cell cannot be made again, or the folder has files.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder; name another one with -o")
    if record.recipe_values["frozen"]:
        raise InputError(
            f"cell {record.id} was trained on features of a frozen backbone, which cannot be exported yet; export a "
            "cell of recipe finetune"
        )
    planned = planned_of(record, store.root)
    path = store.stage_path(planned.stages[-1].id)
    state = StageFile(path, CPU, float("inf")).load()
    if state is None:
        raise InputError(f"the network of cell {record.id} is not in {path.parent}; train it again: {record.command}")
    data = cut(planned.images, planned.cell.imbalance, planned.cell.subset_seed, planned.cell.holdout)
    task, method = Task.of(data, planned.cell.recipe, planned.cell.seed, CPU), planned.methods[-1]
    net = trained_network(method, task, state["network"]).eval()
    program = traced(Program(method, net, task.normalise, planned.cell.recipe.resized_crop), record.finished.image)
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about tensors that share memory
        torch.export.save(program, folder / "model.pt2")
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(_facts(record), indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(str(predict.__file__), folder / "predict.py")
    found = _agreement(predict.load(folder), record, planned, store)
    (folder / "README.md").write_text(card(found), encoding="utf-8")
    return found


def _facts(record: Record) -> dict[str, Any]:
    """The content of ``model.json``."""
    result, recipe = record.finished, record.recipe_values
    return {
        "classes": result.classes,
        "image": result.image,
        "interpolation": recipe["interpolation"] or "bilinear",
        "method": record.entry,
        "backbone": recipe["backbone"],
        "timm": result.environment.timm,
        "torch": result.environment.torch,
        "cell": record.id,
        "command": record.command,
    }


def _agreement(model: predict.Exported, record: Record, planned: Planned, store: Store) -> Agreement:
    """Compare the written model with the stored predictions of the record."""
    split = planned.images.val if planned.test is None else planned.test.read()
    assert split is not None
    count = min(CHECKED, len(split))
    chosen = np.linspace(0, len(split) - 1, count).astype(np.int64)  # folders list their images class by class
    images = np.ascontiguousarray(split.take(chosen).pixels())
    with torch.inference_mode():
        logits = model.program(torch.from_numpy(images)).numpy()
    arrays = store.arrays(record.id)
    return Agreement(
        images=count,
        equal=int((logits.argmax(1) == arrays["predicted"][chosen]).sum()),
        furthest=float(np.abs(logits - arrays["logits"][chosen].astype(np.float32)).max()),
    )

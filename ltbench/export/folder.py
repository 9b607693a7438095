"""Writes a trained cell as a model in a folder of its own."""

import json
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ltbench.data import cut
from ltbench.data.resize import BILINEAR
from ltbench.engine.frozen import extractor
from ltbench.engine.image_source import CPU
from ltbench.engine.networks import trained_network
from ltbench.engine.task import Task
from ltbench.errors import InputError
from ltbench.export import predict
from ltbench.export.program import FrozenFeatures, Program, traced, write_onnx
from ltbench.plan.expand import Library, Planned, make_plan
from ltbench.plan.repeat import request_of
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.runner.checkpoint import StageFile
from ltbench.runner.inputs import compute_features, inputs
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
        parameters: of the exported model, with a frozen backbone.
    """

    images: int
    equal: int
    furthest: float
    parameters: int


def planned_of(record: Record, results: Path, methods_dirs: Sequence[Path]) -> Planned:
    """The cell of a record with everything that it was trained with.

    Raises:
        InputError: when its images or methods are not there any more, or are others than they were.
    """
    request, tuned = request_of(record.command, trusted=methods_dirs)
    library = Library()
    if tuned:
        request = replace(request, variants=winners(request, results, library))
    for planned in make_plan(request, library).cells:
        if planned.cell.id == record.id:
            return planned
    raise InputError(
        f"cell {record.id} cannot be made again, since its code or images changed; see ltbench verify {record.id}"
    )


def export(
    record: Record,
    store: Store,
    folder: Path,
    card: Callable[[Agreement], str],
    onnx: bool = False,
    methods_dirs: Sequence[Path] = (),
) -> Agreement:
    """Write the network of a finished cell, the program that predicts with it, and a script, into a folder.

    Args:
        record: of the cell.
        store: with its trained network.
        folder: which must not exist, or be empty.
        card: the text of ``README.md``.
        onnx: write the program also as ``model.onnx``.
        methods_dirs: folders with method files, besides ``./methods``.

    Raises:
        InputError: when the network is not stored any more, the cell cannot be made again, the folder has files, or
            packages for ONNX are missing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder; name another one with -o")
    planned = planned_of(record, store.root, methods_dirs)
    path = store.stage_path(planned.stages[-1].id)
    state = StageFile(path, CPU, float("inf")).load()
    if state is None:
        raise InputError(
            f"the network of cell {record.id} is not in {path.parent}; train it again: {store.again(record)}"
        )
    program, weights = _program(planned, state["network"])
    image = tuple(planned.images.train.images.shape[1:])
    operations = traced(program, image)
    facts = json.dumps(_facts(record, image), indent=1) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    if onnx:
        write_onnx(operations, folder / "model.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about tensors that share memory
        torch.export.save(operations, folder / "model.pt2", extra_files={"model.json": facts})
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    (folder / "model.json").write_text(facts, encoding="utf-8")
    shutil.copyfile(str(predict.__file__), folder / "predict.py")
    parameters = sum(part.numel() for part in program.parameters())
    found = _agreement(predict.load(folder), record, planned, store, parameters)
    (folder / "README.md").write_text(card(found), encoding="utf-8")
    return found


def _program(planned: Planned, state: Mapping[str, Tensor]) -> tuple[Program, dict[str, Tensor]]:
    """The program of a cell, and its weights: those of the network, and of a frozen backbone if there is one.

    Args:
        state: of the trained network.
    """
    cell, method = planned.cell, planned.methods[-1]
    recipe = cell.recipe.on_features() if cell.recipe.frozen else cell.recipe
    compute_features([planned], CPU, lambda line: print(line, file=sys.stderr))
    data = cut(inputs(planned, CPU)[0], cell.imbalance, cell.subset_seed, cell.holdout)
    task = Task.of(data, recipe, cell.seed, CPU)
    net = trained_network(method, task, state).eval()
    weights, frozen = net.state_dict(), None
    if cell.recipe.frozen:
        backbone, normalise, _ = extractor(planned.images, cell.recipe, CPU)
        frozen = FrozenFeatures(backbone, normalise)
        weights |= {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    return Program(method, net, task.normalise, cell.recipe.resized_crop, frozen).eval(), weights


def _facts(record: Record, image: tuple[int, ...]) -> dict[str, Any]:
    """The content of ``model.json``, which ``model.pt2`` carries too; ``image`` is height, width and channels."""
    result, recipe = record.finished, record.recipe_values
    return {
        "classes": result.classes,
        "image": image,
        "interpolation": recipe["interpolation"] or BILINEAR,
        "method": record.entry,
        "backbone": recipe["backbone"],
        "timm": result.environment.timm,
        "torch": result.environment.torch,
        "cell": record.id,
        "command": record.command,
    }


def _agreement(model: predict.Exported, record: Record, planned: Planned, store: Store, parameters: int) -> Agreement:
    """Compare the written model with the stored predictions of the record."""
    split = planned.images.val if planned.test is None else planned.test.read()
    assert split is not None
    count = min(CHECKED, len(split))
    chosen = np.linspace(0, len(split) - 1, count).astype(np.int64)  # folders list their images class by class
    images = np.ascontiguousarray(split.take(chosen).pixels())
    with torch.inference_mode():
        logits = model.program(torch.from_numpy(images)).numpy()
    arrays = store.arrays(record)
    return Agreement(
        images=count,
        equal=int((logits.argmax(1) == arrays["predicted"][chosen]).sum()),
        furthest=float(np.abs(logits - arrays["logits"][chosen].astype(np.float32)).max()),
        parameters=parameters,
    )

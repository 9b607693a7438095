"""Evaluation of a stage on its held-out images, and the features that a post-hoc step sees."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltbench.engine.batches import held_out
from ltbench.engine.stage import RunningStage
from ltbench.errors import InputError
from ltbench.metrics import per_image, scores

BATCH = 500  # images


class TrainingFailed(RuntimeError):
    """Training cannot continue; the message says why, and at which epoch and step."""


def evaluate(running: RunningStage) -> None:
    """Add an evaluation of every held-out split to the state of a stage, and replace its logits.

    Raises:
        TrainingFailed: when a logit is not finite.
    """
    net, task, state = running.net.eval(), running.task, running.state
    entry: dict[str, Any] = {"epoch": state["epoch"]}
    with running.timed("evaluation_seconds"):
        for name, images in task.held_out.items():
            chunks, rows = [], []
            with torch.inference_mode():
                for pixels, targets in images.batches(BATCH):
                    with task.autocast():
                        logits = running.method.predict(net, task.normalise(pixels))
                    chunks.append(logits.half())
                    rows.append(per_image(logits, targets))
            found = torch.cat(rows, dim=1).cpu().numpy()
            if not np.isfinite(found).all():
                raise TrainingFailed(f"the logits of split '{name}' are not finite after epoch {state['epoch']}")
            entry[name] = scores(found, images.labels.cpu().numpy(), len(task.data.counts))
            state["logits"][name] = torch.cat(chunks).cpu()
        state["evaluations"].append(entry)


def features(running: RunningStage, split: str) -> tuple[Tensor, Tensor]:
    """Features [N, D] float32 and labels [N] of the un-augmented images of ``train`` or ``val``, in evaluation mode.

    Raises:
        InputError: for ``val`` where the run has no validation split, and for any other split.
    """
    net, task = running.net.eval(), running.task
    if split not in ("train", "val"):
        raise InputError(f"a post-hoc step may look at 'train' and 'val', not at '{split}'")
    if split == "train":
        images = held_out(task.data.train, task.recipe, task.images_in, task.device)
    elif "val" in task.held_out:
        images = task.held_out["val"]
    else:
        raise InputError("this post-hoc step needs validation images; use --set holdout=N (images per class)")
    found, labels = [], []
    with torch.inference_mode(), task.autocast():
        for pixels, targets in images.batches(BATCH):
            found.append(net.features(task.normalise(pixels)).float())
            labels.append(targets)
    return torch.cat(found), torch.cat(labels)

"""Evaluation of a stage on its held-out images, and the features that a post-hoc step sees."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.batches import HeldOut, held_out
from ltbench.engine.stage import RunningStage
from ltbench.engine.task import Task
from ltbench.errors import InputError
from ltbench.method.contract import Method
from ltbench.metrics import per_image, scores
from ltbench.models.network import Network

BATCH = 500  # images


class TrainingFailed(RuntimeError):
    """Training cannot continue; the message says why, and at which epoch and step."""


class Predictions(NamedTuple):
    """What a network predicts for a split, in the order of the split.

    Attributes:
        images: float32 [4, N], from ``metrics.per_image``.
        logits: float16 [N, C].
    """

    images: NDArray[np.float32]
    logits: NDArray[np.float16]


def predictions(method: Method, net: Network, task: Task, images: HeldOut, epoch: int) -> Predictions:
    """What a network predicts for a split.

    Args:
        epoch: after which it does so, for the error.

    Raises:
        TrainingFailed: when a logit is not finite.
    """
    net.eval()
    chunks, rows = [], []
    with torch.inference_mode():
        for pixels, targets in images.batches(BATCH):
            with task.autocast():
                logits = method.predict(net, task.normalise(pixels))
            chunks.append(logits.half())
            rows.append(per_image(logits, targets))
    found = images.in_place(torch.cat(rows, dim=1)).cpu().numpy()
    if not np.isfinite(found).all():
        raise TrainingFailed(f"the logits are not finite after epoch {epoch}")
    return Predictions(found, images.in_place(torch.cat(chunks).T).T.cpu().contiguous().numpy())


def evaluate(running: RunningStage) -> None:
    """Add an evaluation of the held-out splits to the state of a stage, and keep its network if it is the best so far.

    The best network on the validation split, by balanced accuracy, is in ``state["best"]``.

    Raises:
        TrainingFailed: when a logit is not finite.
    """
    task, state = running.task, running.state
    if not task.held_out:
        return
    entry: dict[str, Any] = {"epoch": state["epoch"]}
    with running.timed("evaluation_seconds"):
        for name, images in task.held_out.items():
            labels = images.labels.cpu().numpy()
            found = predictions(running.method, running.net, task, images, state["epoch"])
            entry[name] = scores(found.images, labels, len(task.data.counts))
            state["logits"][name] = torch.from_numpy(found.logits)
            if name == "val":
                totals = np.bincount(labels, minlength=len(task.data.counts))
                value = float((np.asarray(entry[name]["hits"]) / np.maximum(totals, 1)).sum())
                if state["best"] is None or value > state["best"]["value"]:
                    network = {key: part.detach().cpu().clone() for key, part in running.net.state_dict().items()}
                    state["best"] = {"epoch": state["epoch"], "value": value, "network": network}
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

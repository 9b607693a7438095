"""The metrics of an evaluation, computed from logits. Imports torch only where logits are a tensor."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Shots = str | tuple[int, int]
"""How classes are grouped into many, medium and few; see `shot_groups`."""
ECE_BINS = 15
"""Equal-width bins of confidence."""


def per_image(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """The values of each image that ``scores`` needs, computed on the device of the logits.

    Args:
        logits: [B, C].
        labels: [B].

    Returns:
        float32 [4, B]: the predicted class, its probability, -log p of the true class, and the squared distance of the
        probabilities to the one-hot label.
    """
    import torch

    logits, at_label = logits.float(), labels[:, None]
    p = logits.softmax(dim=1)
    confidence, predicted = p.max(dim=1)
    log_true = logits.log_softmax(dim=1).gather(1, at_label).squeeze(1)
    brier = p.square().sum(dim=1) - 2 * p.gather(1, at_label).squeeze(1) + 1
    return torch.stack([predicted.float(), confidence, -log_true, brier])


def best_on(labels: "Tensor", candidates: "Mapping[float, Tensor]") -> float:
    """The candidate whose logits [N, C] have the best balanced accuracy on ``labels`` [N]; the first of equal ones."""
    sizes = labels.bincount().clamp_min(1)

    def balanced_accuracy(logits: "Tensor") -> float:
        hits = labels[logits.argmax(1) == labels].bincount(minlength=len(sizes))
        return float((hits / sizes).sum())

    return max(candidates, key=lambda candidate: balanced_accuracy(candidates[candidate]))


def confidence_bins(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin, 0 to 14, of each confidence [N]: (0, 1/15], (1/15, 2/15], ... (Guo et al., ICML 2017, section 2)."""
    return np.clip(np.ceil(confidence * ECE_BINS).astype(np.intp) - 1, 0, ECE_BINS - 1)


def class_weights(labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Weights of images [N], together 1, that give each class in ``labels`` [N] the same weight.

    A sum with them is the mean over classes of the means over their images, as balanced accuracy is. On a test set with
    equal classes it is the mean over images.
    """
    counts = np.bincount(labels)
    weights: NDArray[np.float64] = 1 / (counts[labels] * np.count_nonzero(counts))
    return weights


def scores(images: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> dict[str, Any]:
    """The metrics of one evaluation.

    Args:
        images: [4, N], from ``per_image``.
        labels: [N].
        classes: C.

    Returns:
        ``hits``: correctly predicted images of each class, [C]; ``accuracy``; ``macro_f1``: mean over classes of the
        harmonic mean of precision and recall (0 where a class is neither hit nor predicted). ``nll`` and ``brier``:
        means over the classes with images of the means over their images. ``ece``: expected calibration error over 15
        equal-width bins of confidence (Guo et al., ICML 2017, equation 3), where each image has the weight of
        `class_weights`: the error on a test set with equal classes. All in [0, 1] except ``nll``.
    """
    predicted = images[0].astype(np.int64)
    confidence, nll, brier = images[1:].astype(np.float64)
    correct = predicted == labels
    hits = np.bincount(labels[correct], minlength=classes)
    seen = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    weights = class_weights(labels)
    gap = np.bincount(confidence_bins(confidence), weights * (correct - confidence), minlength=ECE_BINS)
    return {
        "hits": hits.tolist(),
        "accuracy": float(correct.mean()),
        "macro_f1": float((2 * hits / np.maximum(seen, 1)).mean()),
        "nll": math.fsum(weights * nll),  # the exact sum, rounded once: the same on every machine
        "brier": math.fsum(weights * brier),
        "ece": float(np.abs(gap).sum()),
    }


def shot_groups(counts: Sequence[int], shots: Shots = "auto") -> dict[str, list[int]]:
    """Classes of the groups many, medium and few.

    Args:
        counts: training images of each class, [C].
        shots: ``(20, 100)``: few below 20, many above 100 (Liu et al., CVPR 2019); ``terciles`` of the classes by size;
            ``auto``: (20, 100), or terciles where one of the three would be empty.

    Returns:
        For each group the indices of its classes; a group may be empty with explicit limits.
    """
    if shots == "terciles":
        order = [int(c) for c in np.argsort([-n for n in counts], kind="stable")]
        many, medium, few = np.array_split(order, 3)
        return {"many": sorted(many.tolist()), "medium": sorted(medium.tolist()), "few": sorted(few.tolist())}
    low, high = (20, 100) if isinstance(shots, str) else shots
    groups = {
        "many": [c for c, n in enumerate(counts) if n > high],
        "medium": [c for c, n in enumerate(counts) if low <= n <= high],
        "few": [c for c, n in enumerate(counts) if n < low],
    }
    if shots == "auto" and not all(groups.values()):
        return shot_groups(counts, "terciles")
    return groups


def group_recalls(
    hits: Sequence[int], totals: Sequence[int], groups: Mapping[str, list[int]]
) -> dict[str, float | None]:
    """The mean recall of each group of classes in percent; None where none of its classes has an image.

    Args:
        hits, totals: correctly predicted and all images of each class, [C].
        groups: from ``shot_groups``.
    """

    def mean(classes: list[int]) -> float | None:
        chosen = [hits[c] / totals[c] for c in classes if totals[c]]
        return 100 * sum(chosen) / len(chosen) if chosen else None

    return {name: mean(classes) for name, classes in groups.items()}


def metrics_of(images: NDArray[np.float32], labels: NDArray[np.int64], counts: Sequence[int]) -> dict[str, Any]:
    """All metrics of predictions: those of ``summary``, and ``hits``, correctly predicted images of each class, [C].

    Args:
        images: [4, N], from ``per_image``.
        labels: [N].
        counts: training images of each class, [C].
    """
    found = scores(images, labels, len(counts))
    totals = np.bincount(labels, minlength=len(counts))
    return summary(found, totals.tolist(), shot_groups(counts)) | {"hits": tuple(found["hits"])}


def summary(evaluation: dict[str, Any], totals: Sequence[int], groups: dict[str, list[int]]) -> dict[str, Any]:
    """The headline numbers of an evaluation, in percent (``nll`` in nats).

    Args:
        evaluation: from ``scores``.
        totals: evaluated images of each class, [C]; a class without images is excluded from means.
        groups: from ``shot_groups``.

    Returns:
        ``balanced_accuracy`` (mean recall over classes), ``balanced_error``, ``accuracy``, ``many``, ``medium`` and
        ``few`` (mean recall; None for an empty group), ``macro_f1``, ``ece``, ``brier``, ``nll``.
    """
    present = np.asarray(totals) > 0
    recall = np.asarray(evaluation["hits"]) / np.maximum(totals, 1)
    balanced = float(100 * recall[present].mean())
    percent = {name: 100 * evaluation[name] for name in ("accuracy", "macro_f1", "ece", "brier")}
    return {
        "balanced_accuracy": balanced,
        "balanced_error": 100 - balanced,
        **group_recalls(evaluation["hits"], totals, groups),
        **percent,
        "nll": evaluation["nll"],
    }

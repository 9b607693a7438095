"""A results folder with made-up results: records and logits that agree with each other, without any training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ltbench.metrics import per_image, scores, shot_groups, summary
from ltbench.plan.cell import digest
from ltbench.results.store import Store

COUNTS = [200, 90, 40, 12, 5]
EACH = 40
"""Test images of a class."""


def made_record(
    store: Store,
    method: str,
    imbalance: str = "100",
    seed: int = 0,
    skill: float = 1.0,
    times: int = 2,
    **changes: Any,
) -> dict[str, Any]:
    """Add one finished cell, its logits included, and return its record.

    Args:
        skill: how far the logit of the true class stands out, less for rarer classes.
        times: how many epochs were evaluated; the last one is the record's.
        changes: fields of the record.
    """
    known = {"dataset": "digits", "hyperparameters": {}, "recipe": "digits", "trials": 0} | changes
    row = digest([method, imbalance, *(known[key] for key in ("dataset", "hyperparameters", "recipe", "trials"))])
    cell = digest([row, seed])
    generator = np.random.default_rng([seed, *method.encode(), *imbalance.encode()])
    labels = np.repeat(np.arange(len(COUNTS)), EACH)
    groups = shot_groups(COUNTS, "auto")
    totals = [EACH] * len(COUNTS)
    tested = []
    for _ in range(times):
        logits = generator.normal(size=(len(labels), len(COUNTS))).astype(np.float16)
        logits[np.arange(len(labels)), labels] += skill * np.sqrt(np.asarray(COUNTS)[labels] / COUNTS[0]) + skill / 2
        images = per_image(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()
        tested.append(scores(images, labels, len(COUNTS)))
    store.write_arrays(cell, {"logits": logits, "labels": labels.astype(np.uint8)})
    results = [{"epoch": 10 * (i + 1)} | summary(e, totals, groups) for i, e in enumerate(tested)]
    record = {
        "id": cell,
        "row": row,
        "fingerprint": "f",
        "imbalance": imbalance,
        "subset_seed": 0,
        "holdout": 0,
        "method": method,
        "seed": seed,
        "shots": "auto",
        "settings": {"recipe": {"backbone": "resnet8_cifar"}, "chain": [[method, "source", {}]]},
        "status": "done",
        "reason": None,
        "class_counts": COUNTS,
        "test_counts": totals,
        "groups": {name: len(members) for name, members in groups.items()},
        "hits": tested[-1]["hits"],
        "protocols": {"last": results[-1], "best-on-test": max(results, key=lambda e: e["balanced_accuracy"])},
        "evaluations": [{"stage": "train", "epoch": e["epoch"], "test": e} for e in results],
        "losses": [{"stage": "train", "loss": [2.0 / (e + 1) + seed / 10 for e in range(10 * times)]}],
        "published": None,
        "cost": {
            "train_seconds": 2.0 + len(method),
            "images_per_second": 100.0,
            "peak_memory_bytes": 10**6,
            "relative_cost": 1.0,
            "runs_together": 1,
        },
        "environment": {"ltbench": "0", "device_name": "a machine", "threads": 1, "revision": "abc"},
        "suite": "quickstart",
        "command": f"ltbench run --methods '{method}' --imbalance {imbalance} --seeds {seed},",
    }
    store.add(record | known)
    return record | known


def made_failure(store: Store, method: str, imbalance: str = "100", seed: int = 0, reason: str = "loss is nan") -> None:
    """Add one failed cell."""
    record = made_record(Store(store.root / "scratch"), method, imbalance, seed)
    kept = ("id", "row", "dataset", "fingerprint", "imbalance", "subset_seed", "holdout", "method", "hyperparameters")
    kept += ("recipe", "seed", "shots", "settings", "suite", "command")
    store.add({key: record[key] for key in kept} | {"status": "failed", "reason": reason})


def made_store(
    root: Path, skills: Mapping[str, float], imbalances: Sequence[str] = ("100",), seeds: int = 3, **changes: Any
) -> Store:
    """A store with these methods, each as good as its skill."""
    store = Store(root)
    for method, skill in skills.items():
        for imbalance in imbalances:
            for seed in range(seeds):
                made_record(store, method, imbalance, seed, skill, **changes)
    return store

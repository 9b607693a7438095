"""A results folder with made-up results: records and logits that agree with each other, without any training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ltbench.method.source import engine_digest
from ltbench.metrics import per_image, scores, shot_groups, summary
from ltbench.plan.cell import Link, digest
from ltbench.results.record import Chosen, Cost, Environment, Evaluation, Measured, Record, Result, StageLosses
from ltbench.results.store import Store, digest_of_arrays

COUNTS = [200, 90, 40, 12, 5]
CLASSES = ["ant", "bee", "cat", "dog", "elk"]
EACH = 1000
"""Test images of a class."""
IDENTITY = ("method", "dataset", "imbalance", "subset_seed", "holdout", "hyperparameters", "recipe", "trials")


def measured(balanced_accuracy: float = 50.0, **values: float | None) -> Measured:
    """Metrics of which only some matter."""
    rest = dict.fromkeys(("many", "medium", "few", "accuracy", "macro_f1", "ece", "brier", "nll"), 1.0)
    known = {"balanced_accuracy": balanced_accuracy, "balanced_error": 100 - balanced_accuracy}
    return Measured.model_validate(rest | known | values)


def chosen(balanced_accuracy: float = 50.0, epoch: int = 10) -> Chosen:
    """The same of the epoch that a protocol reports."""
    hits = (round(balanced_accuracy * EACH / 100),) * len(COUNTS)
    return Chosen(epoch=epoch, hits=hits, **vars(measured(balanced_accuracy)))


def evaluated(stage: str, epoch: int, balanced_accuracy: float) -> Evaluation:
    """An evaluation on the test split."""
    return Evaluation(stage=stage, epoch=epoch, test=measured(balanced_accuracy))


def record_of(method: str, imbalance: str = "100", seed: int = 0, **changes: Any) -> Record:
    """The record of a finished cell.

    Args:
        changes: fields of the record or of its result.
    """
    environment = {"python": "3", "torch": "2", "timm": "1", "numpy": "2", "platform": "Linux", "device": "cpu"}
    environment |= {"ltbench": "0", "device_name": "a machine", "instructions": "avx2", "threads": 1, "revision": "abc"}
    seconds = dict.fromkeys(("evaluation_seconds", "reused_seconds", "work_seconds", "wall_seconds"), 1.0)
    speed = {"images": 1000, "images_per_second": 100.0, "relative_cost": 1.0, "peak_memory_bytes": 10**6}
    result = {
        "classes": CLASSES,
        "class_counts": COUNTS,
        "measured_on": "test",
        "test_counts": [EACH] * len(COUNTS),
        "arrays": "",
        "protocols": {"last": chosen(), "best-on-test": chosen()},
        "evaluations": [evaluated("train", 10, 50.0)],
        "losses": [StageLosses(stage="train", loss=(1.0,) * 10)],
        "stages": [],
        "image": (8, 8, 1),
        "images_in": "device",
        "parameters": 1,
        "cost": Cost(train_seconds=2.0 + len(method), **seconds, **speed),
        "environment": Environment(**environment),
    }
    record = {
        "dataset": "digits",
        "fingerprint": "f",
        "imbalance": imbalance,
        "subset_seed": 0,
        "holdout": 0,
        "method": method,
        "hyperparameters": {},
        "recipe": "digits",
        "seed": seed,
        "trials": 0,
        "recipe_values": {"backbone": "resnet8_cifar", "epochs": 10},
        "engine": engine_digest(),
        "chain": [Link(method=method, source=digest(changes.get("sources")), hyperparameters={})],
        "suite": "quickstart",
        "command": f"ltbench run --methods '{method}' --imbalance {imbalance} --seeds {seed},",
    }
    result |= {name: value for name, value in changes.items() if name in Result.model_fields}
    if hits := changes.pop("hits", None):
        recalls = [100 * hit / n for hit, n in zip(hits, result["test_counts"], strict=True) if n]
        update = {"hits": tuple(hits), "balanced_accuracy": sum(recalls) / len(recalls)}
        result["protocols"] = {name: one.model_copy(update=update) for name, one in result["protocols"].items()}
    record |= {name: value for name, value in changes.items() if name not in Result.model_fields}
    row = digest([record[name] for name in IDENTITY])
    return Record.model_validate({"id": digest([row, seed]), "row": row, "result": result} | record)


def made_record(
    store: Store,
    method: str,
    imbalance: str = "100",
    seed: int = 0,
    skill: float = 1.0,
    times: int = 2,
    **changes: Any,
) -> Record:
    """Add one finished cell, its logits included, and return its record.

    Args:
        skill: how far the logit of the true class stands out, less for rarer classes.
        times: how many epochs were evaluated; the last one is the record's.
        changes: fields of the record or of its result.
    """
    generator = np.random.default_rng([seed, *method.encode(), *imbalance.encode()])
    labels = np.repeat(np.arange(len(COUNTS)), EACH)
    groups = shot_groups(COUNTS, "auto")
    tested = []
    for _ in range(times):
        logits = generator.normal(size=(len(labels), len(COUNTS))).astype(np.float16)
        logits[np.arange(len(labels)), labels] += skill * np.sqrt(np.asarray(COUNTS)[labels] / COUNTS[0]) + skill / 2
        images = per_image(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()
        tested.append(scores(images, labels, len(COUNTS)))
    found = [
        Chosen(epoch=10 * (i + 1), hits=e["hits"], **summary(e, [EACH] * len(COUNTS), groups))
        for i, e in enumerate(tested)
    ]
    arrays = {"logits": logits, "labels": labels.astype(np.uint8), "predicted": images[0].astype(np.uint8)}
    arrays |= dict(zip(("confidence", "nll", "brier"), images[1:], strict=True))
    evaluations = [
        Evaluation(stage="train", epoch=e.epoch, test=Measured(**e.model_dump(exclude={"epoch", "hits"})))
        for e in found
    ]
    result = {
        "arrays": digest_of_arrays(arrays),
        "protocols": {"last": found[-1], "best-on-test": max(found, key=lambda e: e.balanced_accuracy)},
        "evaluations": evaluations,
        "losses": [StageLosses(stage="train", loss=[2.0 / (e + 1) + seed / 10 for e in range(10 * times)])],
    }
    record = record_of(method, imbalance, seed, **(result | changes))
    store.write_arrays(record.id, arrays)
    store.add(record)
    return record


def as_planned(record: Record) -> dict[str, Any]:
    """A cell as plans store it."""
    names = ("id", "row", *IDENTITY[1:5], "fingerprint", "method", "hyperparameters", "recipe", "seed")
    return {name: getattr(record, name) for name in names}


def made_failure(store: Store, method: str, imbalance: str = "100", seed: int = 0, reason: str = "loss is nan") -> None:
    """Add one failed cell."""
    store.add(record_of(method, imbalance, seed).model_copy(update={"result": None, "reason": reason}))


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

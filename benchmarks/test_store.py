"""Store and leaderboard with 10,000 records: ``pytest benchmarks/test_store.py -s``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltbench.results.leaderboard import METRICS, leaderboard, load_results
from ltbench.results.record import Record
from ltbench.results.store import Store

METHODS, IMBALANCES, SEEDS = 40, 25, 10


def record(method: int, imbalance: int, seed: int, generator: np.random.Generator) -> Record:
    """A record as a run of CIFAR-100-LT leaves it: 100 classes, 20 evaluations."""
    accuracy = float(generator.normal(40 + method / 10, 0.5))
    hits = generator.binomial(100, accuracy / 100, size=100)
    test = dict.fromkeys(METRICS, float(hits.mean()))
    cell = f"{method:04x}{imbalance:04x}{seed:08x}"
    costs = ["train_seconds", "evaluation_seconds", "reused_seconds", "work_seconds", "images_per_second"]
    costs += ["images", "peak_memory_bytes", "relative_cost", "wall_seconds"]
    versions = (
        "python",
        "ltbench",
        "torch",
        "timm",
        "numpy",
        "platform",
        "device",
        "device_name",
        "instructions",
        "revision",
    )
    result = {
        "arrays": "",
        "measured_on": "test",
        "class_counts": [100] * 100,
        "test_counts": [100] * 100,
        "protocols": {"last": {"epoch": 200, "hits": hits.tolist()} | test},
        "evaluations": [{"stage": "train", "epoch": 10 * e, "test": test} for e in range(1, 21)],
        "losses": [{"stage": "train", "loss": [1.234567] * 200}],
        "stages": [],
        "image": (32, 32, 3),
        "images_in": "device",
        "parameters": 460_000,
        "paper": None,
        "cost": dict.fromkeys(costs, 17) | {"runs_together": 1},
        "environment": dict.fromkeys(versions, "0") | {"threads": 1},
    }
    return Record.model_validate(
        {
            "created": f"2026-01-01T00:00:{seed:02}.{method:03}{imbalance:03}+00:00",
            "id": cell,
            "row": cell[:8],
            "dataset": "cifar100",
            "fingerprint": "f",
            "imbalance": str(imbalance),
            "subset_seed": 0,
            "holdout": 0,
            "method": f"method{method}",
            "hyperparameters": {},
            "recipe": "ldam",
            "seed": seed,
            "recipe_values": {},
            "engine": "",
            "chain": [],
            "suite": "cifar100-lt",
            "command": "",
            "result": result,
        }
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """10,000 records on disk."""
    root = tmp_path_factory.mktemp("results")
    generator = np.random.default_rng(0)
    (root / "records").mkdir()
    for m in range(METHODS):
        for i in range(IMBALANCES):
            for s in range(SEEDS):
                content = record(m, i, s, generator)
                (root / "records" / f"{content.id}-0.json").write_bytes(content.write())
    return Store(root)


def test_leaderboard_over_10_000_records(benchmark: Any, store: Store) -> None:
    """Read, select, aggregate, rank."""
    board = benchmark.pedantic(lambda: leaderboard(load_results(store.root)), rounds=5, warmup_rounds=1)
    assert len(board) == METHODS * IMBALANCES
    benchmark.extra_info["bytes"] = sum(path.stat().st_size for path in (store.root / "records").iterdir())
    print(
        f"\nleaderboard over {len(store.latest())} records: {benchmark.stats.stats.median:.2f} s (median of 5)",
        flush=True,
    )


def test_keeping_a_record(benchmark: Any, tmp_path: Path) -> None:
    """One record written to disk."""
    store, content = Store(tmp_path), record(0, 0, 0, np.random.default_rng(0))
    benchmark(lambda: store.add(content))


def test_finding_what_is_done(benchmark: Any, store: Store) -> None:
    """Reading all records, as a run does before it trains."""
    benchmark.pedantic(lambda: Store(store.root).latest(), rounds=5)
    print(f"\nstate of {len(store.latest())} cells: {benchmark.stats.stats.median:.2f} s", flush=True)

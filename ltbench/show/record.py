"""One record for a reader."""

import json

from rich.console import Console
from rich.table import Table

from ltbench.plan.cell import entry
from ltbench.results.store import Record
from ltbench.show.tables import duration

MIB = 2**20


def print_record(record: Record) -> None:
    """Print what a cell was, what came out, what it cost, where it ran, and the command that repeats it."""
    console = Console(highlight=False)
    facts = Table.grid(padding=(0, 2))

    def fact(name: str, value: object) -> None:
        facts.add_row(name, str(value))

    fact("cell", record["id"])
    fact("data set", f"{record['dataset']}, imbalance {record['imbalance']}, pixels {record['fingerprint']}")
    fact("cut", f"subset seed {record['subset_seed']}, {record['holdout']} images a class held out")
    fact("method", entry(record["method"], record["hyperparameters"], record.get("trials", 0)))
    if record.get("trials", 0):
        fact("chosen values", record["hyperparameters"])
    chain = [f"{name} (source {source}) {json.dumps(values)}" for name, source, values in record["settings"]["chain"]]
    fact("trained", ", then ".join(chain))
    recipe = ", ".join(f"{key}={value}" for key, value in record["settings"]["recipe"].items())
    fact("recipe", f"{record['recipe']}: {recipe}")
    fact("seed", record["seed"])
    fact("status", record["status"] + (f": {record['reason']}" if record["reason"] else ""))
    if record["status"] == "done":
        cost = record["cost"]
        alone = cost["peak_memory_bytes"] is not None
        peak = f"peak {cost['peak_memory_bytes'] / MIB:.0f} MiB" if alone else f"{cost['runs_together']} runs together"
        fact("images a class", " ".join(str(n) for n in record["class_counts"]))
        fact("groups", ", ".join(f"{n} classes {name}" for name, n in record["groups"].items()))
        fact(
            "cost",
            f"trained {duration(cost['train_seconds'])} ({cost['reused_seconds']:.1f} s of it reused), evaluated "
            f"{duration(cost['evaluation_seconds'])}, {cost['images_per_second']:.0f} images/s, "
            f"{peak}, {record['parameters']} parameters",
        )
        tiers = (f"{t['stage']}: {t['tier']}{' (' + t['reason'] + ')' if t['reason'] else ''}" for t in record["tiers"])
        fact("steps ran", ", ".join(tiers))
        fact("images in", record.get("images_in", "device"))  # earlier records knew no other place
        fact("environment", ", ".join(f"{key} {value}" for key, value in record["environment"].items()))
    fact("created", record["created"])
    fact("repeat with", record["command"])
    console.print(facts)
    if record["status"] != "done":
        return
    table = Table("protocol", "epoch", *(name for name in record["protocols"]["last"] if name != "epoch"))
    for protocol, values in record["protocols"].items():
        numbers = ("–" if v is None else f"{v:.2f}" for k, v in values.items() if k != "epoch")
        table.add_row(protocol, str(values["epoch"]), *numbers)
    console.print(table)

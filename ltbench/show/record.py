"""One record as text in the terminal."""

import json

from rich.console import Console
from rich.table import Table

from ltbench.errors import printable
from ltbench.metrics import shot_groups
from ltbench.results.record import Measured, Record, Result
from ltbench.units import duration, mebibytes


def print_record(record: Record) -> None:
    """Print a cell's settings, result, cost and environment, and the command that repeats it."""
    console = Console(highlight=False, markup=False)
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(record).items():
        facts.add_row(name, printable(value))
    console.print(facts)
    console.print("repeat with")
    console.print(printable(record.command), soft_wrap=True)  # unbroken, so that it can be copied
    if record.result is None:
        return
    protocols = record.result.protocols
    table = Table("protocol", *protocols)
    table.add_row("epoch", *(str(chosen.epoch) for chosen in protocols.values()))
    for metric in Measured.model_fields:
        values = [getattr(chosen, metric) for chosen in protocols.values()]
        table.add_row(metric, *("–" if value is None else f"{value:.2f}" for value in values))
    console.print(table)


def _facts(record: Record) -> dict[str, str]:
    """Everything but the metrics, by name."""
    trained = [
        f"{link.method} (source {link.source}) {json.dumps(dict(link.hyperparameters))}" for link in record.chain
    ]
    facts = {
        "cell": record.id,
        "data set": f"{record.dataset}, imbalance {record.imbalance}, pixels {record.fingerprint}",
        "split": f"subset seed {record.subset_seed}, {record.holdout} images per class held out",
        "method": record.entry,
    }
    if record.trials:
        facts["tuned values"] = str(record.hyperparameters)
    facts |= {
        "trained": ", then ".join(trained),
        "recipe": f"{record.recipe}: {', '.join(f'{name}={value}' for name, value in record.recipe_values.items())}",
        "seed": str(record.seed),
        "status": record.status + (f": {record.reason}" if record.reason else ""),
    }
    if record.result:
        facts |= _result(record.result)
    return facts | {"created": record.created}


def _result(result: Result) -> dict[str, str]:
    cost = result.cost
    shared = f"{cost.runs_together} runs together on the device"
    peak = shared if cost.peak_memory_bytes is None else f"peak memory {mebibytes(cost.peak_memory_bytes)}"
    stages = [
        f"{stage.method}: {stage.stage} ({'reused, ' if stage.reused else ''}{stage.tier}"
        f"{f', {stage.reason}' if stage.reason else ''}) on {', then on '.join(stage.environments)}"
        for stage in result.stages
    ]
    return {
        "training images": f"{' '.join(map(str, result.class_counts))} (of each class)",
        "classes": ", ".join(f"{len(members)} {name}" for name, members in shot_groups(result.class_counts).items()),
        "cost": f"training {duration(cost.train_seconds)} ({cost.reused_seconds:.1f} s of it reused from other cells), "
        f"evaluation {duration(cost.evaluation_seconds)}, {cost.images_per_second:.0f} images/s, {peak}, "
        f"{result.parameters} parameters",
        "stages": "; ".join(stages),
        "images in": result.images_in,
        "environment": ", ".join(f"{name} {value}" for name, value in result.environment if value is not None),
    }

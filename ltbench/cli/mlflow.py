"""The commands about MLflow: ``sync`` and ``ui``."""

from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli import options

PANEL = "MLflow"
app = typer.Typer()


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench sync",
        "ltbench sync --models   # also the best model of each table",
    ),
)
def sync(
    models: Annotated[
        bool,
        typer.Option(
            "--models",
            help="Also log the best model of each table, with its signature. This imports method files.",
        ),
    ] = False,
    results: options.Results = Path("results"),
    follow: Annotated[bool, typer.Option("--follow", hidden=True)] = False,
) -> None:
    """Update MLflow from the results folder."""
    from ltbench.results.store import Store

    store = Store(options.existing(results))
    if follow:
        from ltbench.tracking.follower import follow as follow_run

        follow_run(store)
        return
    from ltbench.tracking.sync import sync as update

    done = update(store)
    labels = {"new": "new", "changed": "changed", "deleted": "deleted", "same": "unchanged"}
    print("MLflow runs: " + ", ".join(f"{done[key]} {label}" for key, label in labels.items()))
    if models:
        from ltbench.tracking.models import log_models

        log_models(store, print)


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench ui",
        "ltbench ui --port 5001",
    ),
)
def ui(
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="Port on this machine.")] = 5000,
    results: options.Results = Path("results"),
) -> None:
    """Update MLflow and serve its web pages on this machine, beginning with the leaderboards."""
    from ltbench.results.store import Store
    from ltbench.tracking.ui import show_ui

    show_ui(Store(options.existing(results)), port, lambda text: print(text, flush=True))

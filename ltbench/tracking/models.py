"""Logs the best model of each table in MLflow: the program of ``ltbench export``, with its signature."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ltbench.errors import InputError
from ltbench.results.store import Store
from ltbench.tracking.address import connect
from ltbench.tracking.sync import ID, RESULTS, experiments, identity

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from ltbench.tracking.runs import Run

CELL = "ltbench.cell"


def log_models(store: Store, say: Callable[[str], None]) -> None:
    """Log the best model of each table, and delete those that are not the best any more.

    A model can be logged while its trained network is stored and its images are there. MLflow must be up to date.

    Args:
        store: the results.
        say: gets one line on each model.

    Raises:
        InputError: when MLflow does not answer.
    """
    client, results = connect(store), identity(store)
    for experiment in experiments(store):
        place = client.get_experiment_by_name(experiment.name)
        wanted = {run.model: run for run in experiment.runs if run.model}
        if place is None or not wanted:
            continue
        for model in client.search_logged_models([place.experiment_id]):
            if model.tags.get(RESULTS) == results and wanted.pop(model.tags[CELL], None) is None:
                client.delete_logged_model(model.model_id)
        for cell, run in wanted.items():
            try:
                _log(client, place.experiment_id, results, store, cell, run)
                say(f"{experiment.name}: logged the model of {run.name} (cell {cell})")
            except InputError as error:
                say(f"{experiment.name}: no model of {run.name}: {error}")


def _log(client: "MlflowClient", place: str, results: str, store: Store, cell: str, run: "Run") -> None:
    """Export the model of a cell and log it as a model of the run."""
    from mlflow import pyfunc

    from ltbench.export import predict
    from ltbench.export.folder import export

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        exported, model = Path(folder) / "exported", Path(folder) / "model"
        warnings.simplefilter("ignore")  # of MLflow, about a missing example of the input
        export(store.one(cell), store, exported, lambda agreement: f"{run.name}, cell {cell}\n")
        about = predict.load(exported).about
        pyfunc.save_model(
            model,
            loader_module=predict.__name__.rpartition(".")[2],
            code_paths=[str(predict.__file__)],
            data_path=str(exported),
            signature=_signature(about["image"], len(about["classes"])),
            pip_requirements=[f"torch=={about['torch'].partition('+')[0]}", "numpy", "pillow"],
        )
        (parent,) = client.search_runs(
            [place], f"tags.`{ID}` = '{run.kind}:{run.key}' and tags.`{RESULTS}` = '{results}'"
        )
        tags = {CELL: cell, RESULTS: results, **{name: run.params[name] for name in ("method", "dataset", "imbalance")}}
        logged = client.create_logged_model(place, "best", parent.info.run_id, tags)
        client.log_model_artifacts(logged.model_id, str(model))
        client.finalize_logged_model(logged.model_id, "READY")


def _signature(image: list[int], classes: int) -> "ModelSignature":
    """Images uint8 [B, H, W, channels] -> probabilities [B, C]."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(np.dtype(np.uint8), (-1, *image))
    return ModelSignature(Schema([images]), Schema([TensorSpec(np.dtype(np.float64), (-1, classes))]))

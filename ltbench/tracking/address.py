"""Where MLflow's store is: a database in the results folder, or the server that ``MLFLOW_TRACKING_URI`` names."""

import logging
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ltbench.errors import InputError, one_line
from ltbench.results.store import Store
from ltbench.tracking import own_database

if TYPE_CHECKING:
    from mlflow import MlflowClient

VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
OURS = "ltbench"
"""The tag of experiments with our runs: ``results`` where ltbench created the experiment, else ``guest``."""
PATIENCE_S = 5
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(PATIENCE_S),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # a sync that failed is repeated as one
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
"""Environment variables for MLflow: send no telemetry, do not wait long, print little."""


def folder(store: Store) -> Path:
    """The folder of our own database and artifacts."""
    return store.root.resolve() / "mlflow"


def address(store: Store) -> str:
    """The tracking URI.

    Raises:
        InputError: when the address of a database cannot hold the name of the results folder.
    """
    if given := os.environ.get(VARIABLE):
        return given
    if found := re.search(r"\?|%[0-9A-Fa-f]{2}", str(folder(store))):  # SQLAlchemy decodes %20
        raise InputError(
            f"MLflow cannot keep a database in {folder(store)}; rename the folder that has a '{found[0]}'", found[0]
        )
    return f"sqlite:///{folder(store)}/mlflow.db"


def is_own(store: Store) -> bool:
    """Whether MLflow uses the database in the results folder, which no one else uses."""
    return not os.environ.get(VARIABLE)


def connect(store: Store) -> "MlflowClient":
    """A client of a tracking store that answers. Our own database is created if there is none.

    Raises:
        InputError: when the address does not answer within about ten seconds, and where our own database leads
            outside its folder.
    """
    uri = address(store)
    _check_reachable(uri)
    if is_own(store):
        own_database.check(folder(store))
    os.environ.update(ENVIRONMENT)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    from mlflow import MlflowClient

    if is_own(store):
        own_database.prepare(folder(store))
    try:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except Exception as error:  # each kind of tracking store has errors of its own
        if is_own(store):
            fix = f"remove {folder(store)}, then run ltbench sync to create it again"
        else:
            fix = f"start an MLflow server there, or set or unset {VARIABLE}"
        raise InputError(f"no MLflow answers at {shown(uri)} ({shown(one_line(error))}); {fix}", uri) from error
    return client


def shown(uri: str) -> str:
    """An address, or a text that contains one, without user, password and tokens."""
    without = re.sub(r"(?<=://)[^/\s]*@", "***@", uri)
    return re.sub(r"(?i)([?&;](?:[a-z_]*password|passwd|pwd|token|[a-z_]*key)=)[^&;\s]+", r"\1***", without)


def _check_reachable(uri: str) -> None:
    parts = urlsplit(uri)
    try:
        port = parts.port or PORTS.get(parts.scheme.partition("+")[0])
        if parts.hostname and port:
            socket.create_connection((parts.hostname, port), PATIENCE_S).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"nothing answers at {shown(uri)} ({shown(one_line(error))}); start the MLflow server, "
            f"or set or unset {VARIABLE}",
            uri,
        ) from error

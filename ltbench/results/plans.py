"""Files of plans: the cells that a run asked for."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ltbench.errors import InputError
from ltbench.results.files import read_whole


class PlannedCell(BaseModel):
    """A cell as `Cell.describe` writes it, with its identities."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    row: str
    dataset: str
    fingerprint: str
    imbalance: str
    subset_seed: int
    holdout: int
    method: str
    hyperparameters: dict[str, Any]
    recipe: str
    seed: int
    trials: int = 0
    weights: str = ""
    trained_under: str = ""


class PlanFile(BaseModel):
    """The cells of one request, and the time of its first run in UTC."""

    model_config = ConfigDict(extra="forbid", strict=True)

    created: str
    suite: str
    cells: list[PlannedCell]


def read_plan(path: Path) -> dict[str, Any]:
    """The content of a file: ``created``, ``suite`` and ``cells``, each with the values that were written.

    Raises:
        InputError: for a file that is not a plan.
    """
    try:
        return PlanFile.model_validate_json(read_whole(path)).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path} is not a plan of ltbench ({where}: {first['msg']}); remove the file") from error

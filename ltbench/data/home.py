"""The folder for downloads and decoded images."""

import os
from pathlib import Path

from ltbench.errors import InputError


def data_folder() -> Path:
    """Return ``$LTBENCH_DATA``, or ``~/.cache/ltbench`` if it is not set."""
    return Path(os.environ.get("LTBENCH_DATA") or Path.home() / ".cache" / "ltbench")


def expanded(path: str) -> Path:
    """A path with ``~`` and ``~USER`` replaced by the home folder.

    Raises:
        InputError: for a user that does not exist.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: there is no such user; write ./{path} for a folder of this name", path) from error

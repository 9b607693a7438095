"""The folder for downloads and decoded images."""

import os
from pathlib import Path


def data_folder() -> Path:
    """Return ``$LTBENCH_DATA``, or ``~/.cache/ltbench`` if it is not set."""
    return Path(os.environ.get("LTBENCH_DATA") or Path.home() / ".cache" / "ltbench")

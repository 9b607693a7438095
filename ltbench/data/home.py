"""Where downloads and decoded images are kept."""

import os
from pathlib import Path


def data_folder() -> Path:
    """``$LTBENCH_DATA``, else ``~/.cache/ltbench``."""
    return Path(os.environ.get("LTBENCH_DATA") or Path.home() / ".cache" / "ltbench")

"""The folders of a results folder: none of them may lead outside it, and what killed processes left is removed."""

import contextlib
import re
import time
from pathlib import Path

from ltbench.errors import InputError

FOLDERS = ("records", "arrays", "stages", "plans", "locks", "tuning", "studies", "machine", "mlflow")
DAY_S = 86400.0


def check_folders(root: Path) -> None:
    """Check the folders that ltbench writes into, in a results folder or in its folder of tuning.

    Raises:
        InputError: where one is a link that leads outside, or is no folder.
    """
    for path in (root / name for name in FOLDERS):
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            raise InputError(
                f"{path} is a link to a place outside the results folder; remove it (the results folder itself may be "
                "a link)"
            )
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is not a folder; remove it")


def sweep(root: Path) -> None:
    """Remove parts of files, and locks that nobody renewed, that are older than a day."""
    old = time.time() - DAY_S
    for path in (*root.glob(".*.tmp"), *root.glob("*/.*.tmp"), *root.glob("locks/*")):
        ours = path.parent.name == "locks" or re.fullmatch(r"\.[0-9a-f]{32}\.tmp", path.name)
        with contextlib.suppress(OSError):  # another process removed it
            if ours and not path.is_symlink() and path.lstat().st_mtime < old:
                path.unlink()

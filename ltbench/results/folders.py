"""The folders of a results folder: none of them may lead outside it, and what killed processes left is removed."""

import contextlib
import re
import stat
import time
from pathlib import Path

from ltbench.errors import InputError

FOLDERS = ("records", "arrays", "stages", "plans", "locks", "tuning", "studies", "machine", "mlflow")
DAY_S = 86400.0
PART = re.compile(r"\.[0-9a-f]{32}(\.tmp)?|\.[0-9a-f]+\.features\.partial")
"""Names of files that are being written, in results and data folders."""


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


def parts_of_files(root: Path, age_s: float) -> list[Path]:
    """Parts of files that are older than this, in a folder and the folders in it: killed processes left them."""
    folders = [root, *(path for path in root.glob("*/") if not path.is_symlink())]
    return [path for folder in folders for path in folder.glob(".*") if PART.fullmatch(path.name) and _old(path, age_s)]


def sweep(root: Path) -> None:
    """Remove parts of files, and locks of other machines that nobody renewed, that are older than a day."""
    for path in (*parts_of_files(root, DAY_S), *(lock for lock in root.glob("locks/*") if _old(lock, DAY_S))):
        with contextlib.suppress(OSError):  # another process removed it
            path.unlink()


def _old(path: Path, age_s: float) -> bool:
    """Whether a path is a file, no link, and older than this."""
    try:
        found = path.lstat()
    except OSError:  # another process removed it
        return False
    return stat.S_ISREG(found.st_mode) and found.st_mtime < time.time() - age_s

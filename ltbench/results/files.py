"""Files of a results folder: each is written whole, and read only if it is a regular file."""

import os
import stat
from pathlib import Path
from uuid import uuid4

from ltbench.errors import InputError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it exists complete or not at all, even if the process is killed or the power fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_whole(path: Path) -> bytes:
    """The content of a file.

    Raises:
        InputError: where it cannot be read, or is no file: a folder, or a pipe, which would never end.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} is not a file; remove it")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); restore or remove it") from error


def files_in(folder: Path, suffix: str) -> list[Path]:
    """The paths in a folder that end like this; none where there is no folder.

    Raises:
        InputError: where the folder cannot be read, or is no folder.
    """
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if entry.name.endswith(suffix) and entry.name[0] != "."]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({error.strerror}); restore the folder or its permissions"
        ) from error

"""Whether this process runs the code that the identities of its results name.

An identity is a hash of files, Python loads a file when it is first needed, and files are edited at any time. So the
state of a file is noted before it is loaded, and compared after it was. A later edit changes nothing in this process.
"""

import sys
from pathlib import Path

State = tuple[int, int] | None
"""Size in bytes and time of change in ns of a file; None: it does not exist."""


def _state(file: str) -> State:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


_LOADED_ONCE = {str(file): _state(str(file)) for file in Path(__file__).parent.rglob("*.py")}
"""The files that a process loads at most once, as they were before: those of ltbench, when it is imported."""
_hashed: dict[str, State] = {}
_awaited: set[str] = set()
_edited: set[str] = set()


def forget() -> None:
    """Forget the files that are about to be loaded again: those of methods."""
    for files in (_awaited, _edited):
        files.intersection_update(_LOADED_ONCE)


def read(file: Path) -> bytes:
    """The content of a file that an identity covers; call it before the file is loaded."""
    name = str(file)
    _hashed[name] = _LOADED_ONCE.get(name, _state(name))
    _awaited.add(name)
    return file.read_bytes()


def read_once(file: Path) -> bytes:
    """The same for a file that this process never loads again."""
    _LOADED_ONCE.setdefault(str(file), _state(str(file)))
    return read(file)


def mixed() -> list[str]:
    """The files that were edited between two moments: that their content was hashed, and that it was loaded.

    A result of this process would be of other code than its identity names.
    """
    for name in _awaited & {getattr(module, "__file__", None) for module in list(sys.modules.values())}:
        _awaited.discard(name)  # another thread may have done so
        if _state(name) != _hashed[name]:
            _edited.add(name)
    return sorted(_edited)


def changed() -> bool:
    """Whether a file that identities cover is not as it was."""
    return any(_state(name) != state for name, state in _hashed.items())

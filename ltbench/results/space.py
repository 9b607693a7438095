"""What a results folder and the data folder contain that can be made again, by kind."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ltbench.data.packed import header_of
from ltbench.results.folders import check_folders, parts_of_files
from ltbench.results.store import Store

KINDS = {
    "stages": "trained networks: without them shared stages are trained again, and no model can be exported",
    "checkpoints": "stages in training that were interrupted: without them they start from the beginning",
    "superseded": "decoded images of folders that have changed since",
    "packed": "all decoded images, and features of frozen backbones: they are made again when needed",
    "temporary": "parts of files that a killed process left",
}
"""The kinds, each with what is lost without its files."""
FRESH_S = 3600.0
"""A younger temporary file may belong to a process that is writing it."""


@dataclass(frozen=True)
class Space:
    """The files of a kind."""

    kind: str
    files: tuple[Path, ...]

    @property
    def size_bytes(self) -> int:
        """Their size."""
        return sum(file.stat().st_size for file in self.files if file.exists())


def spaces(store: Store, data: Path) -> list[Space]:
    """The files of every kind. Those of stages that some process is training are not among them.

    Args:
        store: the results.
        data: the data folder.

    Raises:
        InputError: where a part of the results folder leads to another place.
    """
    check_folders(store.root)
    trained = [file for file in sorted((store.root / "stages").glob("*.pt")) if not _in_use(store, file)]
    packed = [*sorted((data / "folders").glob("*.images")), *sorted((data / "features").glob("*.features"))]
    found = {
        "stages": [file for file in trained if not file.stem.endswith(".partial")],
        "checkpoints": [file for file in trained if file.stem.endswith(".partial")],
        "superseded": list(_superseded(packed)),
        "packed": packed,
        "temporary": [*parts_of_files(store.root, FRESH_S), *parts_of_files(data, FRESH_S)],
    }
    return [Space(kind, tuple(found[kind])) for kind in KINDS]


def _in_use(store: Store, file: Path) -> bool:
    """Whether a process is training the stage of a file."""
    return store.is_locked(f"stage-{file.name.partition('.')[0]}")


def _superseded(packed: list[Path]) -> Iterator[Path]:
    """Files of decoded images for which there is a newer one of the same source and size."""
    newest: dict[tuple[str, int | None], Path] = {}
    for file in sorted((f for f in packed if f.suffix == ".images"), key=lambda f: f.stat().st_mtime):
        header = header_of(file)
        if header is None or not header.source:
            continue
        place = header.source, header.side
        if place in newest:
            yield newest[place]
        newest[place] = file

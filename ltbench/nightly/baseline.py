"""What nights are compared with: a folder that is committed, and who put it there."""

import getpass
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import ltbench
from ltbench.errors import InputError
from ltbench.results.files import write_whole
from ltbench.results.record import Record, now
from ltbench.results.store import Store

CHECKOUT = Path(ltbench.__file__).resolve().parent.parent
"""The folder that ltbench runs from; an installed package has no benchmarks and no baseline there."""


@dataclass(frozen=True)
class Baseline:
    """The records and the speed limits in a folder.

    Attributes:
        root: with ``baseline/records``, ``speed.json`` and ``blessings.jsonl``.
    """

    root: Path

    @property
    def store(self) -> Store:
        """Records of every cell, without predictions and trained networks."""
        return Store(self.root / "baseline")

    @property
    def speed(self) -> Path:
        """The file of the limits; see `limits`."""
        return self.root / "speed.json"

    def records(self) -> list[Record]:
        """The blessed records.

        Raises:
            InputError: where there are none.
        """
        found = list(self.store.latest().values())
        if not found:
            raise InputError(
                f"no baseline in {self.store.root}; run in a checkout of ltbench, name its folder with --baseline DIR, "
                "or make one with ltbench nightly --bless --because TEXT"
            )
        return found

    def replace(self, old: Iterable[Record], new: Iterable[Record]) -> None:
        """Replace records by those of a night."""
        outdated = {record.id for record in old}
        for path in (self.store.root / "records").glob("*.json"):
            if path.name.partition("-")[0] in outdated:
                path.unlink()
        for record in new:
            self.store.add(record)

    def sign(self, because: str, revision: str | None, what: str, machine: str) -> None:
        """Add a line to the list of blessings.

        Args:
            because: why the new numbers are right.
            revision: commit that they were obtained with; ``+`` at its end: with changes.
            what: was blessed.
            machine: that they were obtained on.
        """
        line = {"who": _who(), "when": now(), "why": because, "revision": revision, "what": what, "machine": machine}
        path = self.root / "blessings.jsonl"
        before = path.read_bytes() if path.exists() else b""
        write_whole(path, before + json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _who() -> str:
    """The name that git would sign a commit with; the user's name without git."""
    try:
        asked = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True).stdout.strip()
    except OSError:
        asked = ""
    return asked or getpass.getuser()

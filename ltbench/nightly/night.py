"""What a night found, and the line of it that is kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltbench.errors import InputError, one_line
from ltbench.nightly import speed
from ltbench.nightly.learning import ALPHA, Together
from ltbench.nightly.speed import Speed
from ltbench.results.compared import ALARMS, Change
from ltbench.results.files import write_whole

HISTORY = "history.jsonl"


@dataclass(frozen=True)
class Night:
    """What a night found.

    Attributes:
        folder: its results.
        created: when it began, in UTC.
        revision: commit of ltbench; ``+`` at its end: with changes.
        machine: processor and versions.
        changes: of the methods.
        together: of all methods, where numbers do not repeat bit for bit.
        speeds: of the benchmarks.
        seconds: how long the night took.
        broken: why methods of the suite could not be trained.
    """

    folder: Path
    created: str
    revision: str | None
    machine: str
    changes: Sequence[Change] = ()
    together: Together | None = None
    speeds: Sequence[Speed] = ()
    seconds: float = 0.0
    broken: Sequence[str] = ()

    @property
    def fell(self) -> list[str]:
        """What is beyond noise, by name."""
        found = [*self.broken, *(_fallen(change) for change in self.changes if change.verdict in ALARMS)]
        found += [f"all methods together {self.together}"] if self.together and self.together.p < ALPHA / 2 else []
        return found + [str(one) for one in self.speeds if one.pace in speed.ALARMS]

    def line(self) -> dict[str, Any]:
        """What the history keeps."""
        return {
            "created": self.created,
            "revision": self.revision,
            "machine": self.machine,
            "folder": self.folder.name,
            "accuracy": {name_of(change): change.after for change in self.changes if change.after == change.after},
            "verdicts": {name_of(change): change.verdict for change in self.changes},
            "together": self.together and self.together.difference,
            "ratios": {one.name: one.ratio for one in self.speeds if one.ratio is not None},
            "paces": {one.name: one.pace for one in self.speeds},
            "seconds": round(self.seconds, 1),
            "fell": self.fell,
        }


def _fallen(change: Change) -> str:
    difference = change.after - change.before
    by = "" if difference != difference else f" by {difference:+.2f} points"
    touched = f" ({', '.join(change.touched[:4])}{' and more' if len(change.touched) > 4 else ''})"
    return f"{name_of(change)} {change.verdict}{by}{touched if change.touched else ''}"


def name_of(change: Change) -> str:
    """A row's name in the history."""
    return f"{change.place.dataset}/{change.place.entry}"


def new_folder(parent: Path, date: str, revision: str | None) -> Path:
    """A folder that does not exist yet, named after the date and the revision."""
    name = f"{date}-{(revision or 'unknown').replace('+', '-changed')}"
    names = (name if number == 1 else f"{name}-{number}" for number in range(1, 1_000_000))
    return next(parent / name for name in names if not (parent / name).exists())


def remember(parent: Path, line: Mapping[str, Any]) -> None:
    """Add a night to the history in the folder of nights."""
    path = parent / HISTORY
    before = path.read_bytes() if path.exists() else b""
    write_whole(path, before + json.dumps(line, ensure_ascii=False).encode() + b"\n")


def nights(parent: Path) -> list[dict[str, Any]]:
    """The history, oldest first; empty where there is none. Each night also has its ``figures``.

    Raises:
        InputError: for a line that is not a night.
    """
    path = parent / HISTORY
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else [], 1):
        try:
            night = json.loads(line)
            found.append(night | {"fell": list(night["fell"]), "figures": figures(night)})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"line {number} of {path} is not a night ({one_line(error)}); remove the line") from error
    return found


def figures(line: Mapping[str, Any]) -> dict[str, float]:
    """Every figure of a line of the history by its name: ``accuracy/digits/ce`` in %, ``ratio/test_step[ce]``."""
    return {
        f"{kind}/{name}": float(value)
        for kind, key in (("accuracy", "accuracy"), ("ratio", "ratios"))
        for name, value in line[key].items()
    }

"""Faults made for real: what a command prints, how it ends, and that it writes nothing outside its folders.

Every test of this folder makes one fault and has a line in `docs/reliability.md`, which
``pytest tests/reliability -m 'not long' --page docs/reliability.md`` writes:

    @fault("Disk", "a record is cut in half")
    def test_a_cut_record(attack: Attack) -> None:
        ...
        attack.shown(attack("status"), 2, "is not a record of ltbench")
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Answer

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240


def fault(area: str, what: str) -> pytest.MarkDecorator:
    """Mark a test as a line of the page: the part of ltbench that is attacked, and what was done to it."""
    return pytest.mark.fault(area, what)


@dataclass(frozen=True)
class Row:
    """A line of the page."""

    area: str
    what: str
    command: str
    status: int
    says: str


@dataclass
class Attack:
    """Runs commands in a place that is watched.

    Attributes:
        place: the test's folder; the working folder ``work`` and the data folder ``data-home`` are in it.
        here: calls the command line in this process.
        fault: area and description of the fault.
        rows: what was shown.
    """

    place: Path
    here: Callable[..., Answer]
    fault: tuple[str, str]
    rows: list[Row] = field(default_factory=list)
    words: tuple[str, ...] = ()

    def __call__(self, *words: str) -> Answer:
        """Run ``ltbench`` with these words in this process."""
        return self._watched(words, lambda: self.here(*words))

    def process(self, *words: str, **environment: str) -> Answer:
        """Run ``ltbench`` with these words in a process of its own, which every signal and stream can reach."""

        return self._watched(words, lambda: ended(self.started(*words, **environment)))

    def started(self, *words: str, before: str = "", **environment: str) -> subprocess.Popen[str]:
        """Start ``ltbench`` in a process and a session of its own, after the Python code ``before``."""
        self.words = words
        code = f"{before}\nimport sys, ltbench.cli\nsys.argv[0] = 'ltbench'\nltbench.cli.main()"
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return subprocess.Popen(
            [sys.executable, *(("-c", code) if before else ("-m", "ltbench")), *words],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def shown(self, answer: Answer, status: int, says: str) -> None:
        """Check how a command ended and that it printed a text (lines joined by blanks); it is the fault's line."""
        printed = " ".join(f"{answer.err}\n{answer.out}".split())
        assert says in printed, answer
        assert answer.status == status, answer
        command, shown = (text.replace(str(self.place), "…") for text in (f"ltbench {' '.join(self.words)}", says))
        self.rows.append(Row(*self.fault, command, status, shown))

    def _watched(self, words: tuple[str, ...], call: Callable[[], Answer]) -> Answer:
        self.words = words
        before = self._outside()
        answer = call()
        assert self._outside() == before, "written outside the folder of the results"
        assert "Traceback" not in answer.err + answer.out, answer.err + answer.out
        return answer

    def _outside(self) -> dict[str, tuple[int, int]]:
        """Size and time of every file outside ``work/results*`` and the data folder."""
        found = {}
        for path in self.place.rglob("*"):
            inside = str(path.relative_to(self.place))
            if path.is_file() and not re.match(r"work/results|data-home", inside):
                stat = path.lstat()
                found[inside] = (stat.st_size, stat.st_mtime_ns)
        return found


def ended(running: "subprocess.Popen[str]") -> Answer:
    """Wait for the end of a process; a signal that ended it is a status as shells show it, 128 and its number."""
    try:
        out, err = running.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        raise
    status = running.returncode
    return Answer(128 - status if status < 0 else status, out, err)

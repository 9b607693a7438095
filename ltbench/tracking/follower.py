"""MLflow is kept up to date while a suite runs, by another process that training does not wait for.

It lives as long as its standard input is open: however the run ends, the system closes it, and then the follower brings
MLflow up to date once more and ends.
"""

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ltbench.errors import InputError
from ltbench.store import Store

PAUSE_S = 5.0
SHARE = 0.05
"""The most of one core that following takes, start and end not counted."""
PATIENCE_S = 60.0


class Follower:
    """The process that follows a run, as the run sees it.

    Args:
        results: the folder that is followed.
    """

    def __init__(self, results: Path) -> None:
        self.said = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as the process
        command = [sys.executable, "-m", "ltbench", "sync", "--follow", "--results", str(results)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.said,
            start_new_session=True,  # so that Ctrl-C does not reach it
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def leave(self) -> None:
        """Let it bring MLflow up to date and end, without waiting."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def finish(self) -> str | None:
        """Wait until MLflow is up to date; otherwise the reason why it is not."""
        self.leave()
        try:
            status = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"it took longer than {PATIENCE_S:.0f} s"
        if status == 0:
            return None
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("ltbench: ") if lines else f"its process ended with exit status {status}"


def follow(store: Store) -> None:
    """Keep MLflow up to date until standard input is closed; artifacts are written last.

    Raises:
        InputError: when MLflow does not answer at the end. Before that it is asked again.
    """
    with contextlib.suppress(OSError):
        os.nice(10)
    from ltbench.tracking.address import connect
    from ltbench.tracking.sync import sync

    with contextlib.suppress(InputError), store.locked("mlflow"):
        connect(store)
    seen: set[str] = set()
    pause = PAUSE_S
    while not _closed(pause):
        started = time.process_time()
        with contextlib.suppress(InputError):
            found = {path.name for path in (store.root / "records").glob("*.json")}
            if found != seen:
                sync(store, files=False)
                seen = found
        pause = max(PAUSE_S, (time.process_time() - started) / SHARE)
    sync(store)


def _closed(pause_s: float) -> bool:
    """Wait so long, or until standard input is closed."""
    return bool(select.select([sys.stdin], [], [], pause_s)[0])

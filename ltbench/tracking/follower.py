"""Updates MLflow while a suite runs or is tuned, in another process that training does not wait for.

The process lives as long as its standard input is open. The system closes the input however the run ends; then the
follower updates MLflow once more and ends.
"""

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ltbench.errors import InputError
from ltbench.results.store import Store

PAUSE_S = 5.0
SHARE = 0.05
"""The largest share of one core that following uses, start and end excluded."""
PATIENCE_S = 60.0


@contextlib.contextmanager
def followed(results: Path, wanted: bool) -> Iterator[None]:
    """Keep MLflow up to date during the context, and print one line at its end if that failed.

    An exception does not wait for the follower, which ends on its own.

    Args:
        results: the results folder.
        wanted: whether to do so at all.
    """
    if not wanted:
        yield
        return
    with tempfile.TemporaryFile() as said:
        follower = subprocess.Popen(
            [sys.executable, "-m", "ltbench", "sync", "--follow", "--results", str(results)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,  # so that Ctrl-C does not reach it
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        yield
        if reason := _finish(follower, said):
            print(f"ltbench: MLflow is not up to date: {reason}; run ltbench sync to complete it", file=sys.stderr)


def _finish(follower: "subprocess.Popen[bytes]", said: IO[bytes]) -> str | None:
    """Wait until MLflow is up to date; returns the reason if that failed."""
    assert follower.stdin is not None
    follower.stdin.close()
    try:
        status = follower.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        follower.kill()
        follower.wait()
        return f"it took longer than {PATIENCE_S:.0f} s"
    if status == 0:
        return None
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("ltbench: ") if lines else f"its process ended with exit status {status}"


def follow(store: Store) -> None:
    """Keep MLflow up to date until standard input is closed; artifacts are written last.

    Raises:
        InputError: when MLflow does not answer at the end. Before that, it is asked again.
    """
    with contextlib.suppress(OSError):
        os.nice(10)
    from ltbench.tracking.address import connect
    from ltbench.tracking.machine import sampled
    from ltbench.tracking.sync import sync

    with contextlib.suppress(InputError), store.locked("mlflow"):
        connect(store)
    with sampled(store):
        seen: set[tuple[Path, int]] = set()
        pause = PAUSE_S
        while not _closed(pause):
            started = time.process_time()
            with contextlib.suppress(InputError, FileNotFoundError):
                files = (
                    path for pattern in ("records/*.json", "tuning/studies/*") for path in store.root.glob(pattern)
                )
                found = {(path, path.stat().st_size) for path in files}
                if found != seen:
                    sync(store, files=False)
                    seen = found
            pause = max(PAUSE_S, (time.process_time() - started) / SHARE)
    sync(store)


def _closed(pause_s: float) -> bool:
    """Wait ``pause_s`` seconds; True as soon as standard input is closed."""
    return bool(select.select([sys.stdin], [], [], pause_s)[0])

"""``kill -9`` at random moments: no record is lost, doubled or changed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kills", [pytest.param(20, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.long)])
def test_no_record_is_lost_doubled_or_changed(kills: int) -> None:
    command = [sys.executable, "-m", "tests.reliability.kills", str(kills)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout

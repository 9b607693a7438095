"""``ltbench slurm``: a script that bash accepts, and whose tasks train the shards."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.results.store import Store
from tests.conftest import Answer

Cli = Callable[..., Answer]
ROOT = Path(__file__).resolve().parents[2]
RUN = ("--methods", "ce,focal", "--imbalance", "20", "--seeds", "1", "--set", "recipe.epochs=1", "--no-tracking")


def test_the_script_asks_for_what_the_options_say(ltbench: Cli) -> None:
    words = ("--time", "2-00:00", "--gpus", "4", "--cpus", "8", "--partition", "gpu", "--account", "us")
    answer = ltbench("slurm", "--shards", "8", *words, "--sbatch", "mem=32G", "--", "--methods", "focal(gamma=2)")
    assert answer.status == 0, answer.err
    asked = re.findall(r"^#SBATCH --(.*)$", answer.out, re.M)
    assert {"array=1-8", "ntasks=1", "time=2-00:00", "gpus-per-task=4", "cpus-per-task=8"} <= set(asked)
    assert {"partition=gpu", "account=us", "mem=32G"} <= set(asked)
    last = answer.out.splitlines()[-1]
    assert last.endswith("""run --methods 'focal(gamma=2)' --device all --shard "$SLURM_ARRAY_TASK_ID/8\"""")
    assert subprocess.run(["bash", "-n"], input=answer.out, text=True).returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--", "--metods", "ce"), "No such option: --metods"),
        (("--", "--shard", "1/2"), "--shard is set by the script; remove it"),
        (("--sbatch", "mem=1\nrm -rf x"), "has a line break or a control character"),
    ],
)
def test_what_cannot_work_is_refused_before_it_is_submitted(ltbench: Cli, words: tuple[str, ...], says: str) -> None:
    answer = ltbench("slurm", "--shards", "2", *words)
    assert (answer.status, answer.out) == (2, "")
    assert says in answer.err


@pytest.mark.slow
def test_the_tasks_of_the_script_train_each_cell_once(ltbench: Cli, tmp_path: Path) -> None:
    assert ltbench("slurm", "--shards", "3", "-o", str(tmp_path / "job.sh"), "--", *RUN).status == 0
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    said = []
    for task in ("1", "2", "3"):
        environment = os.environ | {"SLURM_ARRAY_TASK_ID": task, "PYTHONPATH": path}
        command = ["bash", str(tmp_path / "job.sh")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        said.append(done.stderr)
    assert [len(re.findall(r"^\[1/1\]", text, re.M)) for text in said] == [1, 1, 0]
    assert "shard 3/3 has no cells" in said[2]
    assert len(Store("results").attempts()) == 2

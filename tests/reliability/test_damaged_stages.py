"""Files of stages that are not what their name says: the stage is trained again, to the same numbers."""

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ltbench.engine.image_source import CPU
from ltbench.results.store import Store
from ltbench.runner.checkpoint import StageFile
from tests.conftest import FAST, numbers
from tests.reliability.attack import Attack, fault

AGAIN = "it is trained again where it is needed"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the results that all tests begin with."""
    return tmp_path_factory.mktemp("kept") / "results"


@pytest.fixture
def stage(attack: Attack, kept: Path) -> Path:
    """The stage of a finished cell."""
    if not kept.exists():
        assert attack("run", *FAST, "--methods", "ce", "--no-tracking").status == 0
        shutil.copytree("results", kept)
    shutil.copytree(kept, "results", dirs_exist_ok=True)
    (path,) = Path("results/stages").glob("*.pt")
    return path


def trained_again(attack: Attack, path: Path, damage: Callable[[Path], None], says: str) -> None:
    """Damage the file of a stage, and train its cell again: a line says so, and the numbers are the same."""
    (before,) = Store().latest().values()
    next(Path("results/records").iterdir()).unlink()
    damage(path)
    answer = attack("run", *FAST, "--methods", "ce", "--no-tracking")
    attack.shown(answer, 0, f"{says}; {AGAIN}")
    assert answer.err.count(AGAIN) == 1
    (after,) = Store().latest().values()
    assert numbers(after) == numbers(before)
    assert not after.finished.stages[0].reused
    assert StageFile(path, CPU, 0).load() is not None


def flip(content: bytes, at: int) -> bytes:
    """Change one bit."""
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@fault("Stages", "the file of a stage is cut in half")
def test_a_cut_stage(attack: Attack, stage: Path) -> None:
    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    trained_again(attack, stage, cut, "was changed since it was written")


@fault("Stages", "one bit of a stage's weights is altered")
def test_a_stage_with_one_altered_bit(attack: Attack, stage: Path) -> None:
    def alter(path: Path) -> None:
        path.write_bytes(flip(path.read_bytes(), path.stat().st_size // 2))

    trained_again(attack, stage, alter, "was changed since it was written")


@fault("Stages", "the file of a stage under the name of another one")
def test_a_stage_of_another_cell(attack: Attack, stage: Path) -> None:
    assert attack("run", *FAST, "--methods", "focal", "--no-tracking").status == 0
    (other,) = set(stage.parent.glob("*.pt")) - {stage}
    for record in Path("results/records").iterdir():
        if '"method":"focal","hyper' in record.read_text():
            record.unlink()
    trained_again(attack, stage, lambda path: path.write_bytes(other.read_bytes()), "is of another stage")


@fault("Stages", "a finished stage in place of a checkpoint")
def test_a_finished_stage_under_the_name_of_a_checkpoint(attack: Attack, stage: Path) -> None:

    def rename(path: Path) -> None:
        path.rename(path.with_suffix(".partial.pt"))

    trained_again(attack, stage, rename, "is of another stage")


@fault("Stages", "a stage that an older version stored without a hash")
def test_a_stage_of_an_older_version(attack: Attack, stage: Path) -> None:
    def store_as_before(path: Path) -> None:
        torch.save(StageFile(path, CPU, 0).load(), path)

    trained_again(attack, stage, store_as_before, "has another format")


@fault("Stages", "a stage without its keys")
def test_a_stage_without_its_keys(attack: Attack, stage: Path) -> None:
    trained_again(attack, stage, lambda path: StageFile(path, CPU, 0).save({"epoch": 2}), "is not complete")


@fault("Stages", "a stage that holds an object which would run code")
def test_a_stage_that_would_run_code(attack: Attack, stage: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch evil",)

    class OfPickles(StageFile):
        def save(self, state: dict[str, object]) -> None:
            buffer = io.BytesIO()
            torch.save(state, buffer)
            self.path.write_bytes(self._head(buffer.getvalue()) + buffer.getvalue())

    def plant(path: Path) -> None:
        OfPickles(path, CPU, 0).save({"network": Evil()})

    trained_again(attack, stage, plant, "cannot be read (UnpicklingError)")
    assert not Path("evil").exists()


@fault("Stages", "a pipe in place of a stage")
def test_a_pipe_in_place_of_a_stage(attack: Attack, stage: Path) -> None:
    def pipe(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    trained_again(attack, stage, pipe, "is not a file; remove it")

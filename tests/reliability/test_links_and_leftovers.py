"""Links that lead out of the results folder, and what killed processes left in it."""

import os
import time
from pathlib import Path

import pytest

from ltbench.results.store import Store
from tests.conftest import FAST
from tests.made import made_record
from tests.reliability.attack import Attack, fault

RUN = ("run", *FAST, "--methods", "ce", "--no-tracking")
DAY_S = 86400


def outside() -> Path:
    """A folder of somebody else, with a file that nothing may change."""
    place = Path("../outside").resolve()
    place.mkdir()
    (place / "victim").write_text("mine")
    return place


def unchanged(place: Path) -> bool:
    return [path.name for path in place.iterdir()] == ["victim"] and (place / "victim").read_text() == "mine"


@pytest.mark.parametrize("words", [RUN, ("clean", "--delete", "stages")], ids=["run", "clean"])
@pytest.mark.parametrize("name", ["records", "arrays", "stages", "plans", "locks", "tuning", "mlflow"])
@fault("Results folder", "a part of the results folder is a link to another place")
def test_a_link_in_place_of_a_folder(attack: Attack, name: str, words: tuple[str, ...]) -> None:
    Path("results").mkdir()
    Path("results", name).symlink_to(place := outside())
    attack.shown(attack(*words), 2, f"results/{name} is a link to a place outside the results folder; remove it")
    assert unchanged(place)


@pytest.mark.slow
@fault("Results folder", "a folder of another name in the results is a link to a place with hidden files")
def test_what_is_behind_a_link_is_not_deleted(attack: Attack) -> None:
    made_record(Store("results"), "ce")
    place = outside()
    hidden = [aged(place / name, 2 * DAY_S) for name in (".profile", f".{32 * 'a'}.tmp")]
    Path("results/more").symlink_to(place)
    attack.shown(attack("clean", "--delete", "temporary"), 0, "deleted 0 files of kind temporary")
    attack.shown(attack(*RUN), 0, "ce")
    assert all(path.exists() for path in hidden)


@fault("Results folder", "the results folder itself is a link")
def test_a_results_folder_that_is_a_link(attack: Attack) -> None:
    Path("../outside-results").mkdir()
    made_record(Store("../outside-results"), "ce")
    Path("results").symlink_to("../outside-results")
    attack.shown(attack("leaderboard"), 0, "ce")


@fault("Results folder", "a lock is a link to a file of somebody else")
def test_a_lock_that_is_a_link(attack: Attack) -> None:
    place = outside()
    Path("results/locks").mkdir(parents=True)
    Path("results/locks/mlflow.lease").symlink_to(place / "victim")
    attack.shown(attack("sync"), 2, "results/locks/mlflow.lease leads to another place; remove the link")
    assert unchanged(place)


@fault("Results folder", "a study is a link to a file of somebody else")
def test_a_journal_that_is_a_link(attack: Attack) -> None:
    place = outside()
    Path("results/tuning/studies").mkdir(parents=True)
    Path("results/tuning/studies/digits--20--digits-epochs-1--ce.journal").symlink_to(place / "victim")
    words = ("--methods", "ce", "--imbalance", "20", "--set", "recipe.epochs=1", "--trials", "1", "--workers", "1")
    attack.shown(attack("tune", *words, "--no-tracking"), 2, "ce.journal leads to another place; remove the link")
    assert unchanged(place)


def aged(path: Path, age_s: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@fault("Results folder", "parts of files and locks that a killed process left two days ago")
def test_what_a_killed_process_left_is_swept(attack: Attack) -> None:
    hidden = f".{32 * 'a'}.tmp"
    old = [aged(Path("results", place), 2 * DAY_S) for place in (hidden, f"stages/{hidden}", "locks/gone")]
    young = [aged(Path("results", place), 60) for place in (f"records/{hidden}", "locks/claim")]
    other = [aged(Path("results", place), 2 * DAY_S) for place in (".keep.tmp", "records/.features.partial")]
    held = Store("results").try_lock("held")
    assert held is not None
    of_the_living = Path("results/locks/held.lease")
    attack.shown(attack(*RUN), 0, "ce")
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in (*young, *other, of_the_living))
    assert Store("results").is_locked("held")
    held.release()

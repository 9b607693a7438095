"""Workers that die, or start in a folder with hostile names."""

from pathlib import Path

import pytest

from ltbench.results.store import Store
from tests.conftest import FAST, MINE
from tests.reliability.attack import Attack, ended, fault
from tests.reliability.test_methods_that_misbehave import plant
from tests.reliability.test_signals import RUN, SLEEPS, begun, wait_until_alone

TWO = (*FAST[:-1], "2")


@pytest.mark.slow
@fault("Workers", "a method calls os._exit(0) in a worker, each time")
def test_a_worker_that_ends_quietly_each_time(attack: Attack) -> None:
    plant("__import__('os')._exit(0)")
    answer = attack("run", *TWO, "--methods", "mine,ce")
    attack.shown(answer, 1, "its process ended with exit status 0, 3 times")
    assert "queued again (2 of 2)" in answer.err
    found = {r.method: r for r in Store().latest().values()}
    assert found["mine"].died
    assert found["ce"].status == "done"


@pytest.mark.slow
@fault("Workers", "a worker is killed once in a cell")
def test_a_cell_whose_worker_is_killed_once_is_trained_again(attack: Attack) -> None:
    plant(
        "import os, pathlib; p = pathlib.Path('results/once')\n"
        "        if not p.exists(): p.touch(); os.kill(os.getpid(), 9)"
    )
    answer = attack("run", *TWO, "--methods", "mine,ce")
    attack.shown(answer, 0, "ended with exit status -9 (killed, often because memory ran out); queued again (1 of 2)")


def dying(line: str, once: bool = True) -> None:
    """Write the method ``mine``, whose import runs a line in workers, which is before their first cell."""
    Path("methods").mkdir()
    first = "not pathlib.Path('results/once').exists()" if once else "True"
    code = f"""
import multiprocessing, os, pathlib
if multiprocessing.parent_process() and {first}:
    pathlib.Path('results/once').touch()
    {line}
"""
    Path("methods/mine.py").write_text(MINE + code)


@pytest.mark.slow
@fault("Workers", "a worker is killed before its first cell")
def test_a_worker_that_is_killed_before_its_first_cell(attack: Attack) -> None:
    dying("os.kill(os.getpid(), 9)")
    attack.shown(attack("run", *TWO, "--methods", "mine,ce"), 0, "mine")
    assert len(Store().attempts()) == 2


@pytest.mark.slow
@fault("Workers", "every worker is killed before its first cell")
def test_workers_that_are_all_killed_before_their_first_cell(attack: Attack) -> None:
    dying("os.kill(os.getpid(), 9)", once=False)
    answer = attack("run", *TWO, "--methods", "mine,ce")
    attack.shown(answer, 2, "5 workers died before they began a cell; of the last one, its process ended with exit")


@pytest.mark.slow
@fault("Workers", "the fork server, which is the parent process of a worker, is killed before the first cell")
def test_a_fork_server_that_is_killed_before_the_first_cell(attack: Attack) -> None:
    dying("os.kill(os.getppid(), 9)")
    attack.shown(attack("run", *TWO, "--methods", "mine,ce"), 0, "mine")
    assert len(Store().attempts()) == 2


@pytest.mark.slow
@fault("Workers", "a method changes the state of a worker, which trains other methods after it")
def test_a_worker_whose_state_was_changed_is_replaced(attack: Attack) -> None:
    plant("torch.set_default_dtype(torch.float64)")
    attack.shown(attack("run", *TWO, "--methods", "mine,ce,focal"), 1, "changed torch.get_default_dtype()")
    assert sorted(r.status for r in Store().latest().values()) == ["done", "done", "failed"]


@pytest.mark.slow
@fault("Workers", "two methods with --isolate")
def test_isolate_gives_each_method_a_process_of_its_own(attack: Attack) -> None:
    Path("methods").mkdir()
    note = "        import os, pathlib; pathlib.Path(f'results/{type(self).__name__}-{os.getpid()}').touch()\n"
    for name in ("mine", "yours"):
        text = MINE.replace("        return", note + "        return").replace("class Mine", f"class {name.title()}")
        Path(f"methods/{name}.py").write_text(text)
    words = ("run", *FAST, "--methods", "mine,yours", "--seeds", "2", "--isolate")
    attack.shown(attack(*words), 0, "mine")
    pids = {name: {p.name.split("-")[1] for p in Path("results").glob(f"{name}-*")} for name in ("Mine", "Yours")}
    assert all(pids.values())
    assert not pids["Mine"] & pids["Yours"]


@pytest.mark.slow
@fault("Workers", "the parent process of the workers is killed")
def test_no_worker_outlives_its_parent(attack: Attack) -> None:
    plant(SLEEPS)
    running = begun(attack, *RUN, "--workers", "2")
    running.kill()
    ended(running)
    wait_until_alone()
    attack.shown(attack("status"), 0, "to do")


@pytest.mark.slow
@fault("Workers", "random.py and signal.py in the working folder")
def test_files_of_the_working_folder_are_not_imported(attack: Attack) -> None:
    for name in ("random", "signal"):
        Path(f"{name}.py").write_text("open('results-of-an-attack', 'w')\nraise SystemExit('attacked')\n")
    attack.shown(attack("run", *TWO, "--methods", "focal,ce"), 0, "focal")
    assert not Path("results-of-an-attack").exists()

"""Methods that end the process, change it for other methods, or need more memory than there is."""

from pathlib import Path

import pytest
import torch

from ltbench.check.pretended import CUDA, pretended
from ltbench.method.state import Guard
from ltbench.randomness import seeded
from ltbench.results.store import Store
from tests.conftest import FAST, MINE
from tests.reliability.attack import Attack, fault


def plant(line: str) -> None:
    """Write the method ``mine``, whose loss runs one more line."""
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(
        MINE.replace("        return", f"        import torch\n        {line}\n        return")
    )


@fault("Methods", "a method calls sys.exit(0)")
def test_a_method_that_calls_sys_exit(attack: Attack) -> None:
    plant("raise SystemExit(0)")
    attack.shown(attack("run", *FAST, "--methods", "mine,ce"), 1, "FAILED: SystemExit: 0")
    assert sorted(r.status for r in Store().latest().values()) == ["done", "failed"]


@pytest.mark.slow
@fault("Methods", "a method calls os._exit(0)")
def test_a_method_that_calls_os_exit(attack: Attack) -> None:
    plant("__import__('os')._exit(0)")
    attack.shown(attack("run", *FAST, "--methods", "mine,ce"), 1, "FAILED: SystemExit: 0")
    assert sorted(r.status for r in Store().latest().values()) == ["done", "failed"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param(
            "torch.set_default_dtype(torch.float64)",
            "torch.get_default_dtype() from torch.float32 to torch.float64",
            marks=fault("Methods", "a method changes the default dtype"),
        ),
        pytest.param(
            "torch.set_num_threads(3)",
            "torch.get_num_threads() from 1 to 3",
            marks=fault("Methods", "a method changes the number of threads"),
        ),
        pytest.param(
            "torch.backends.mkldnn.enabled = False",
            "torch.backends.mkldnn.enabled from True to False",
            marks=fault("Methods", "a method switches mkldnn off"),
        ),
        pytest.param(
            "old = F.cross_entropy; F.cross_entropy = lambda *a, **b: 2 * old(*a, **b)",
            "the function torch.nn.functional.cross_entropy",
            marks=fault("Methods", "a method replaces F.cross_entropy"),
        ),
        pytest.param(
            "F.cross_entropy = F.nll_loss",
            "the function torch.nn.functional.cross_entropy",
            marks=fault("Methods", "a method puts one function of torch in the place of another"),
        ),
        pytest.param(
            "torch.autograd.grad_mode.set_grad_enabled(False)",
            "torch.is_grad_enabled() from True to False",
            marks=fault("Methods", "a method switches gradients off"),
        ),
        pytest.param(
            "import numpy; numpy.random.rand()",
            "numpy's global generator",
            marks=fault("Methods", "a method draws from numpy's global generator"),
        ),
        pytest.param(
            "import random; random.random()",
            "Python's global generator",
            marks=[pytest.mark.slow, fault("Methods", "a method draws from Python's global generator")],
        ),
        pytest.param(
            "if clock.progress > 0: torch.rand(1)",
            "torch's global generator",
            marks=fault("Methods", "a method draws from torch's global generator, but not in its first epoch"),
        ),
    ],
)
def test_a_method_that_changes_the_process(attack: Attack, line: str, says: str) -> None:
    plant(line)
    guard = Guard()
    attack.shown(attack("run", *FAST, "--methods", "mine,ce"), 1, f"changed {says}")
    assert sorted(r.status for r in Store().latest().values()) == ["done", "failed"]
    assert not guard.changed_since(0)  # the state was put back
    again = attack("run", *FAST, "--methods", "mine,ce")  # the stage of the failed cell is not reused
    assert again.status == 1
    assert f"changed {says}" in " ".join(again.out.split())


@pytest.mark.slow
@fault("Methods", "a method seeds the generator of the (pretended) GPU, but not in its first epoch")
def test_a_method_that_seeds_the_generator_of_a_gpu(attack: Attack) -> None:
    plant("if clock.progress > 0: torch.cuda.manual_seed(3)")
    with pretended():
        before = torch.cuda.get_rng_state(CUDA)
        answer = attack("run", *FAST, "--methods", "mine,ce", "--device", "cuda")
        attack.shown(answer, 1, "changed the global generator of cuda:0")
        assert torch.equal(torch.cuda.get_rng_state(CUDA), before)
    assert sorted(r.status for r in Store().latest().values()) == ["done", "failed"]


def test_the_guard_does_not_begin_to_use_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("it began to use CUDA"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    guard = Guard()
    with seeded(1):
        pass
    assert not guard.changed_since(0)


@fault("Methods", "a stage of a method trains parameters that do not exist")
def test_a_stage_that_trains_parameters_that_do_not_exist(attack: Attack) -> None:
    Path("methods").mkdir()
    stages = "    def stages(self):\n        return (Stage('train', trains={'heads.*': 1.0, 'bckbone.*': 0.1}),)\n\n"
    text = MINE.replace("Range\n", "Range, Stage\n").replace("    def loss", f"{stages}    def loss")
    Path("methods/mine.py").write_text(text)
    says = "stage 'train' trains 'bckbone.*', but no parameter has such a name"
    attack.shown(attack("run", *FAST, "--methods", "mine"), 1, says)


@fault("Methods", "the import of a method file changes the process")
def test_an_import_that_changes_the_process(attack: Attack) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE + "\nimport torch\ntorch.set_default_dtype(torch.float64)\n")
    guard = Guard()
    says = "its import changed torch.get_default_dtype() from torch.float32 to torch.float64"
    attack.shown(attack("run", *FAST, "--dry-run", "--methods", "mine"), 1, says)
    assert not guard.changed_since(0)


@fault("Methods", "a method runs out of GPU memory")
def test_a_method_that_runs_out_of_gpu_memory(attack: Attack) -> None:
    plant("raise torch.OutOfMemoryError('CUDA out of memory')")
    attack.shown(
        attack("run", *FAST, "--methods", "mine,ce"),
        1,
        "half the batch needs about half of it (--set recipe.batch_size=16)",
    )


@pytest.mark.slow
@fault("Methods", "a batch that is too large for the (pretended) GPU, on which each image takes 5 GiB")
def test_the_largest_batch_that_would_have_fitted_is_named(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(
        "if len(batch.images) > 24: raise torch.OutOfMemoryError('CUDA out of memory')\n"
        "        torch.planted = len(batch.images)"
    )
    used = lambda device=None: (20 + 5 * torch.planted) << 30  # noqa: E731
    with pretended(), monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "max_memory_allocated", used)
        patch.setattr(torch, "planted", 0, raising=False)
        run = ("run", *FAST, "--methods", "mine", "--device", "cuda")
        says = "(20480 MiB of 143360 MiB used); about 24 would have fitted, by the memory of steps with 4 and 8"
        attack.shown(attack(*run), 1, f"out of GPU memory with a batch of 32 {says} (--set recipe.batch_size=24)")
        assert attack(*run, "--set", "recipe.batch_size=24").status == 0


@fault("Methods", "a method runs out of GPU memory beside another one")
def test_a_method_that_runs_out_of_gpu_memory_beside_others_is_trained_alone(attack: Attack) -> None:
    plant(
        "import threading; n = sum('_Run' in type(t).__name__ for t in threading.enumerate())\n"
        "        if not hasattr(torch, 'tried'): torch.tried = 1; raise torch.OutOfMemoryError('CUDA out of memory')"
    )
    try:
        answer = attack("run", *FAST[:-2], "--methods", "mine,ce", "--runs-per-device", "2")
    finally:
        del torch.tried  # type: ignore[attr-defined]
    attack.shown(answer, 0, "out of GPU memory with 2 runs at once; at most 1 from here on")


@fault("Results folder", "the record of a finished cell does not reach the folder")
def test_a_cell_without_a_record_is_named(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    add = Store.add
    monkeypatch.setattr(Store, "add", lambda self, record: add(self, record) if record.method == "ce" else None)
    answer = attack("run", *FAST, "--methods", "focal,ce")
    attack.shown(answer, 1, "1 of 2 cells have no record: digits / 20 / focal / seed 0; repeat the command")


@fault("Results folder", "the record of a trial does not reach the folder")
def test_a_trial_without_a_record_ends_the_search(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "add", lambda self, record: None)
    answer = attack("tune", "--imbalance", "20", "--set", "recipe.epochs=2", "--workers", "1", "--methods", "focal")
    attack.shown(answer, 1, "cells have no record")


@fault("Methods", "a run of nothing but a method file that is broken")
def test_a_run_of_a_broken_method_only(attack: Attack) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text("raise OSError('no')")
    attack.shown(attack("run", *FAST, "--methods", "mine"), 1, "mine.py: OSError: no")

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltbench.check.pretended import Device, pretended
from ltbench.cli import main
from ltbench.plan import recipe
from ltbench.results.record import Record
from ltbench.results.store import Store

os.environ["LTBENCH_TRACKING"] = "0"  # tests that need MLflow ask for it
os.environ.pop("MLFLOW_TRACKING_URI", None)
signal.signal(signal.SIGINT, signal.default_int_handler)  # children inherit that a background shell ignores it


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in an empty folder, with a data folder of its own."""
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path / "data-home"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture(autouse=True)
def in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """``precision=auto`` is fp32 on every machine."""
    monkeypatch.setattr(recipe, "computes_in_bf16", lambda: False)


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str


@pytest.fixture
def ltbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """The command line, in this process: ``ltbench("run", "--suite", ...)``."""

    def call(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["ltbench", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
            raise SystemExit(0)
        captured = capsys.readouterr()
        return Answer(int(exit_.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(params=["pretended", pytest.param("real", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Device | None]:
    """A GPU, usable as ``CUDA``: a pretended one and its log; with ``-m gpu`` a real one, and None."""
    if request.param == "real":
        yield None
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more threads would only wait for each other
    with pretended() as device:
        yield device
    torch.set_num_threads(threads)


FAST = ("--imbalance", "20", "--seeds", "1", "--set", "recipe.epochs=2", "--workers", "1")
"""Options that make the quickstart suite take a moment."""

MINE = '''"""Mine: cross-entropy with a temperature. Deviation: all of it."""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Range


class Mine(Method):
    """Cross-entropy at a temperature."""

    temperature = Range(2.0, 0.5, 4.0, log=True)

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images) / self.temperature, batch.labels)
'''


def records(results: str = "results") -> dict[str, Record]:
    return Store(results).latest()


def numbers(record: Record) -> Record:
    """The record without everything that depends on when, how fast and where it was made."""
    changes = {"created": "", "command": "", "suite": ""}
    if result := record.result:
        stages = tuple(stage.model_copy(update={"reused": False}) for stage in result.stages)
        volatile = {"cost": result.cost.images, "environment": None, "images_in": "", "stages": stages}
        changes |= {"result": result.model_copy(update=volatile)}
    return record.model_copy(update=changes)


@pytest.fixture
def picture_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of small images: ``picture_folder({"cat": 5, "dog": 3}, mode="L", size=(9, 7))``."""

    def make(classes: dict[str, int], at: str = "pictures", mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Path:
        generator = np.random.default_rng(0)
        for c, (name, n) in enumerate(classes.items()):
            folder = tmp_path / at / name
            folder.mkdir(parents=True)
            for i in range(n):
                shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
                pixels = generator.integers(20 * c, 20 * c + 60, size=shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:03}.png")
        return tmp_path / at

    return make

"""What every benchmark shares: the images, and the number of rounds."""

from pathlib import Path

import pytest
import torch

from ltbench.data import Imbalance
from ltbench.engine.process import device_of


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the benchmarks."""
    parser.addoption("--images", help="folder with the CIFAR-10 images; without it generated ones of the same shape")
    parser.addoption("--device", default="auto", help="auto, cpu, cuda; what only a GPU can do is skipped elsewhere")
    parser.addoption("--rounds", type=int, default=5, help="how often each side is measured, in turn")


@pytest.fixture
def images(request: pytest.FixtureRequest) -> str | None:
    """The folder of images, if one was given."""
    given = request.config.getoption("--images")
    return str(Path(given).resolve()) if given else None


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where to measure."""
    return device_of(str(request.config.getoption("--device")))


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """Rounds of each side."""
    return int(request.config.getoption("--rounds"))


@pytest.fixture
def imbalance() -> Imbalance:
    """CIFAR-10-LT at ratio 100: 12,406 images."""
    return Imbalance("exp", 100)

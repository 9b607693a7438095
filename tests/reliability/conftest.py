"""The fixture of an attack, and the page that all attacks make."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Answer
from tests.reliability.attack import Attack, Row
from tests.reliability.page import page

ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--page", type=Path, help="write the table of all faults of this run into a file")


@pytest.fixture
def attack(request: pytest.FixtureRequest, tmp_path: Path, ltbench: Callable[..., Answer]) -> Iterator[Attack]:
    """Runs commands where something is broken; the test must show how one of them ends."""
    marker = request.node.get_closest_marker("fault")
    made = Attack(tmp_path, ltbench, marker.args)
    yield made
    assert made.rows, "the test shows no command: call attack.shown"
    request.config.stash.setdefault(ROWS, []).extend(made.rows)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if to := session.config.getoption("--page"):
        to.write_text(page(session.config.stash.get(ROWS, [])), encoding="utf-8")

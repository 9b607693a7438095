from collections.abc import Callable

import pytest

from tests.conftest import FAST, Answer


@pytest.fixture
def some_results(ltbench: Callable[..., Answer]) -> None:
    assert ltbench("run", *FAST, "--methods", "ce,class_balanced_sampling", "--seeds", "2").status == 0

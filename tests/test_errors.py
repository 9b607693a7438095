"""Errors as one line."""

import pytest

from ltbench.engine.evaluate import TrainingFailed
from ltbench.errors import InputError, one_line, unknown


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("no such suite"), "no such suite"),
        (TrainingFailed("loss became nan"), "loss became nan"),
        (ValueError("first\nsecond"), "ValueError: first"),
        (KeyError(), "KeyError"),
        (InputError(""), "InputError"),
        (SyntaxError("invalid syntax", ("file.py", 3, 1, "x =")), "SyntaxError: invalid syntax (line 3)"),
    ],
)
def test_an_error_is_its_first_line_with_its_type_where_it_is_not_ours(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_an_unknown_name_gets_the_nearest_known_one_and_the_list_of_names_where_it_is_short() -> None:
    assert str(unknown("suite", "quick", ["quickstart", "b"])) == (
        "unknown suite 'quick'; did you mean 'quickstart'? (known: b, quickstart)"
    )
    assert str(unknown("method", "x", map(str, range(1000, 1030)), "see ltbench ls methods")) == (
        "unknown method 'x' (see ltbench ls methods)"
    )

"""docs/tutorial.ipynb runs, and shows what a run gives."""

from pathlib import Path

import nbformat
import pytest

from benchmarks.tutorial import NOTEBOOK, executed


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.slow
def test_the_tutorial_runs_in_an_empty_folder(own_place: Path) -> None:
    notebook = executed(str(own_place))
    board, plot = outputs(notebook)[-2:]
    assert {"balanced_softmax", "ce", "crt", "half_shift"} <= set(board.data["text/plain"].split())
    assert "image/png" in plot.data
    assert (own_place / "methods" / "half_shift.py").is_file()


def test_the_stored_tutorial_has_been_run() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "image/png" in outputs(notebook)[-1].data

"""Runs docs/tutorial.ipynb in an empty folder and stores what it prints: ``python -m benchmarks.tutorial``."""

import os
import tempfile

import nbformat
from nbclient import NotebookClient

from benchmarks.committed import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def executed(folder: str) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run in this folder.

    Raises:
        nbclient.exceptions.CellExecutionError: where a cell fails.
    """
    notebook: nbformat.NotebookNode = nbformat.read(NOTEBOOK, as_version=4)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    client = NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": folder}}, record_timing=False
    )
    client.execute(env=os.environ | {"PYTHONPATH": path})
    return notebook


def main() -> None:
    """Write the outputs into the notebook."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(folder)
    nbformat.write(notebook, NOTEBOOK)
    print(NOTEBOOK)


if __name__ == "__main__":
    main()

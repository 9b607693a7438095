"""The commands of trained models: ``export`` and ``predict``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ltbench.cli import options
from ltbench.errors import InputError

PANEL = "Models"
app = typer.Typer()

if TYPE_CHECKING:
    import pandas as pd

    from ltbench.results.record import Record
    from ltbench.results.store import Store

BATCH = 64
"""Images of one forward pass."""


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench export --best -o model",
        "ltbench export 3f9a -o model      # the model of one cell",
    ),
)
def export(
    cell: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Id of the cell, or its first characters.", show_default=False)
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Export the recommended method's model that is best on validation images.")
    ] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.", rich_help_panel=options.OUTPUT)
    ] = Path("model"),
    onnx: Annotated[
        bool,
        typer.Option("--onnx", help="Also write model.onnx; needs ltbench[onnx].", rich_help_panel=options.OUTPUT),
    ] = False,
    suite: options.OfSuite = None,
    methods_dir: options.MethodsDir = [],  # noqa: B006
    results: options.Results = Path("results"),
) -> None:
    """Write a trained model into a folder: weights, program, class names, a script that predicts, and a model card."""
    from ltbench.export.card import card
    from ltbench.export.folder import export as write
    from ltbench.results.leaderboard import TABLE, leaderboard, load_results
    from ltbench.results.status import Sources, ids_of, is_stale
    from ltbench.results.store import Store

    if best == (cell is not None):
        raise InputError("name one model: the id of a cell (see ltbench status --json), or --best")
    store = Store(options.existing(results))
    cells = load_results(store, ids=ids_of(suite, store), methods_dirs=methods_dir)
    record = _recommended(cells, store) if best else _finished(str(cell), store)
    if is_stale(changes := Sources(methods_dir).changes(record)):
        why = f"its code was edited since ({', '.join(sorted(changes)[:3])})"
        raise InputError(f"cell {record.id} is stale: {why}; undo the edit, or train the new code: {record.command}")
    own = cells[cells.id == record.id]
    if own.empty and suite is None:
        raise InputError(f"cell {record.id} is in no table: a later one took its place; see ltbench status --json")
    if own.empty:
        raise InputError(f"cell {record.id} is not in suite {suite}; remove --suite, or name another one", "suite")
    alike = cells[(cells[TABLE] == own[TABLE].iloc[0]).all(axis=1)]
    board = leaderboard(alike)
    rows = board[board.method == record.entry]
    found = write(record, store, output, lambda agreement: card(record, rows.iloc[0], agreement), onnx, methods_dir)
    print(
        f"{output}: {record.entry} (cell {record.id}), {record.finished.last.balanced_accuracy:.1f} % balanced accuracy"
    )
    print(f"it predicts the class of the record for {found.equal} of {found.images} images")
    print(f"next: ltbench predict {output} IMAGE ...")


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench predict model photo.jpg",
        "ltbench predict model photos/*.jpg --format csv > classes.csv",
    ),
)
def predict(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that 'ltbench export' has written.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    top: Annotated[int, typer.Option(metavar="N", min=1, help="Classes to show for each image, likeliest first.")] = 3,
    format: Annotated[
        Literal["table", "csv", "json"],
        typer.Option(help="Output format. CSV and JSON have all classes.", rich_help_panel=options.OUTPUT),
    ] = "table",
    as_json: options.Json = False,
) -> None:
    """Print the classes and probabilities that an exported model predicts for images."""
    from ltbench.show.predictions import render_predictions

    found = _probabilities(model, images)
    print(render_predictions(found, "json" if as_json else format, top))


def _finished(prefix: str, store: "Store") -> "Record":
    """The finished cell whose id begins so."""
    found = [record for record in store.latest(prefix).values() if record.result is not None]
    if len(found) != 1:
        what = (
            f"{len(found)} finished cells begin with '{prefix}'"
            if found
            else f"no finished cell begins with '{prefix}'"
        )
        raise InputError(f"{what} in {store.root}; list the ids of all cells with ltbench status --json")
    return found[0]


def _recommended(cells: "pd.DataFrame", store: "Store") -> "Record":
    """The cell that the only table of these results recommends."""
    from ltbench.results.recommend import choices
    from ltbench.results.status import none_to_show

    if len(cells) and (cells.status == "stale").all():
        raise InputError(none_to_show(store.root, len(cells)), "best")
    records = store.latest()
    found = choices(cells, records) if len(cells) else []
    if sum(choice.row is not None for choice in found) == 1:
        found = [choice for choice in found if choice.row is not None]
    if len(found) != 1:
        names = ("dataset", "imbalance", "recipe")
        places = [
            f"{' / '.join(str(choice.table[name]) for name in names)}: {choice.cell or 'none'}" for choice in found
        ]
        what = f"{len(found)} tables recommend a model ({'; '.join(places)})" if found else "there is no finished cell"
        raise InputError(f"{what} in {store.root}; give the id of one, or choose a table with --suite", "best")
    if found[0].row is None:
        raise InputError(f"no method is recommended: {found[0].reason}", "best")
    return records[found[0].cell]


def _probabilities(model: Path, images: list[Path]) -> "pd.DataFrame":
    """Probabilities of each class [N, C], one row an image."""
    import logging

    import numpy as np
    import pandas as pd

    from ltbench.export.predict import load, pixels, probabilities

    logging.getLogger("torch.export").setLevel(logging.ERROR)  # it prints the traceback of every damaged file
    try:
        loaded = load(model)
        classes, (height, width, _) = loaded.about["classes"], loaded.about["image"]
        if not (len(set(classes)) == len(classes) and 1 <= height <= 4096 and 1 <= width <= 4096):
            raise ValueError("model.json is damaged")
    except Exception as error:  # torch raises a different error for each kind of damage
        raise InputError(f"{model} is not a folder of ltbench export ({_why(error)}); export it again") from error
    decoded = []
    for image in images:
        try:
            decoded.append(pixels(image, loaded.about))
        except Exception as error:  # the decoders of damaged files raise many types
            raise InputError(f"image {image} cannot be read ({_why(error)}); correct or remove it") from error
        if len(decoded) % 1000 == 0:
            print(f"ltbench: {len(decoded)} of {len(images)} images decoded", file=sys.stderr)
    parts = [probabilities(loaded, np.stack(decoded[i : i + BATCH])) for i in range(0, len(decoded), BATCH)]
    if parts[0].shape[1] != len(classes):
        given = f"model.json of {model} names {len(classes)} classes, and the model predicts {parts[0].shape[1]}"
        raise InputError(f"{given}; export the model again")
    return pd.DataFrame(np.concatenate(parts), index=[str(image) for image in images], columns=classes)


def _why(error: Exception) -> str:
    """What ``predict.py`` says is wrong; of other errors the type."""
    return str(error) if type(error) is ValueError else type(error).__name__

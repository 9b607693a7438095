"""Published accuracies, read from the methods' files, and what differs between one and a result. Needs no torch.

A result is compared with a published accuracy only where nothing differs that is known to change accuracies.
"""

import ast
import functools
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltbench.errors import InputError
from ltbench.method.entries import AFTER
from ltbench.method.published import Published
from ltbench.method.source import places
from ltbench.method.syntax import assigned
from ltbench.plan.as_published import recipe_of, reproducible
from ltbench.plan.recipe import FAMILIES
from ltbench.results.record import Protocol, Record

MARGIN = 1.5
"""Points by which accuracies of one method from different authors usually differ: a practical margin, not a standard
deviation."""
NO_MATTER = ("backbone", "evaluate_every", "test_curve", "precision")
"""Values of a recipe that are not compared with the source's like the others: the backbone has a check of its own,
evaluating does not change training, and of the precisions only bf16 counts as another one."""


def published(folders: Sequence[Path] = ()) -> dict[str, tuple[Published, ...]]:
    """The published accuracies of every method that is found in a folder, by method.

    Method files are not imported, since most import torch: only the class attribute ``published`` is evaluated.

    Args:
        folders: with method files, besides the built-in ones and ``./methods``.
    """
    files = [file for place in places(folders) for file in sorted(place.glob("*.py")) if not file.name.startswith("_")]
    return {file.stem: _published_in(str(file), file.read_bytes()) for file in files}


@functools.lru_cache(maxsize=2048)
def _published_in(file: str, content: bytes) -> tuple[Published, ...]:
    """The value of the attribute ``published`` in a method's file; empty where there is none."""
    if b"published" not in content:
        return ()
    try:
        classes = [node for node in ast.parse(content).body if isinstance(node, ast.ClassDef)]
    except (SyntaxError, ValueError):
        return ()  # a method that is asked for says so
    for statement in [statement for node in classes for statement in node.body]:
        if isinstance(statement, ast.Assign) and "published" in assigned(statement):
            try:
                return _figures(statement.value)
            except (TypeError, ValueError):
                why = f"line {statement.lineno}: write Published(...) or Published.table(...) with literal values"
                print(f"ltbench: published accuracies of {file} are not shown: {why}", file=sys.stderr)
    return ()


def _figures(node: ast.expr) -> tuple[Published, ...]:
    """The figures of an expression, which is read and not run: a leaderboard runs no code of a method.

    Raises:
        TypeError: for arguments that `Published` does not have.
        ValueError: for anything but calls of `Published` and `Published.table` with literal values, in tuples, lists
            and sums.
    """
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(figure for item in node.elts for figure in _figures(item))
    if isinstance(node, ast.Starred):
        return _figures(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _figures(node.left) + _figures(node.right)
    if isinstance(node, ast.Call) and not node.args:
        values: dict[str, Any] = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
        if (called := ast.unparse(node.func)) == "Published":
            return (Published(**values),)
        if called == "Published.table":
            return Published.table(**values)
    raise ValueError(ast.unparse(node))


def comparable(record: Record, protocol: Protocol, figures: Sequence[Published]) -> Published | None:
    """The published accuracy for the very comparison that a finished cell is, reported under this protocol."""
    images = record.dataset, record.imbalance
    found = (f for f in figures if (f.dataset, f.imbalance) == images and f.epoch == protocol)
    return next((figure for figure in found if not differences(record, figure)), None)


def reproduced(record: Record, figures: Sequence[Published]) -> Published | None:
    """The published accuracy that a record was trained for; None where it was not trained as published.

    Args:
        figures: of its method.
    """
    if not record.trained_under:
        return None
    try:
        return reproducible(figures, _names(record), record.dataset.split(" (")[0], record.imbalance)
    except InputError:
        return None  # the method's file was edited since


def differences(record: Record, figure: Published) -> list[str]:
    """What is not known to be the same in a finished cell and in the source of a published accuracy.

    Args:
        record: of the same method.
        figure: for the same data set and imbalance; under another name of the data set, the images differ.

    Returns:
        A few words for each difference, such as ``recipe (epochs)``; empty where the two may be compared.
    """
    recipe, values = _other_recipe(record, figure), _other_values(record, figure)
    found = {
        "images": record.dataset != figure.dataset or record.finished.measured_on != "test",
        "subset": record.subset_seed != figure.subset_seed,
        "holdout": record.holdout > 0,
        "backbone": record.recipe_values["backbone"] != figure.backbone,
        f"recipe ({', '.join(recipe)})": bool(recipe),
        f"hyper-parameters ({', '.join(values)})": bool(values),
        "features": AFTER in record.hyperparameters,
        "tuning": record.trials > 0,
        "epoch": figure.epoch is None or not _same_choice(record, figure.epoch),
    }
    words = [name for name in figure.settings if name not in _names(record) and not name.startswith("recipe.")]
    return [what for what, differs in found.items() if differs] + words


def verdict(difference: float, half_width: float, seeds: int) -> str:
    """Whether a difference (ours less the paper's, in points) is within `MARGIN` plus our half width.

    Args:
        half_width: of our 95 % interval, in points.
        seeds: number of ours; one says nothing about the spread over seeds, so only the distance is shown.
    """
    if seeds < 2 or math.isnan(half_width):
        return "one seed: distance only"
    if abs(difference) <= MARGIN + half_width:
        return "within"
    return "above" if difference > 0 else "below"


def _other_recipe(record: Record, figure: Published) -> list[str]:
    """The names of the recipe's values that differ; ``family`` where the family has no recipe here."""
    if figure.family not in FAMILIES:
        return ["family"]
    theirs, ours = recipe_of(figure).identity(), record.recipe_values
    other = [name for name, value in theirs.items() if name not in NO_MATTER and ours.get(name) != value]
    return other + (["precision"] if ours.get("precision") == "bf16" else [])


def _names(record: Record) -> Mapping[str, Any]:
    """The hyper-parameters of the record's own method, with their values."""
    return record.chain[-1].hyperparameters


def _other_values(record: Record, figure: Published) -> list[str]:
    """The hyper-parameters that differ: from the source's value, or from our default where the source has none."""
    values = _names(record)
    theirs = {name: value for name, value in figure.settings.items() if name in values}
    changed = record.hyperparameters.keys() & values.keys() - theirs.keys()
    return sorted({name for name, value in theirs.items() if values[name] != value} | changed)


def _same_choice(record: Record, epoch: Protocol) -> bool:
    """Whether the reported epoch was chosen as in the source: the best on the test set is the best of all epochs."""
    result = record.finished
    if epoch == "last":
        return True
    final = result.losses[-1]
    evaluated = {evaluation.epoch for evaluation in result.evaluations if evaluation.stage == final.stage}
    return "best-on-test" in result.protocols and len(evaluated) >= len(final.loss)

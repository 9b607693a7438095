"""From the command that repeats a cell back to what it asks for."""

import argparse
import shlex
from collections.abc import Iterable
from pathlib import Path

from ltbench.errors import InputError, one_line
from ltbench.method.entries import parse_value
from ltbench.plan.request import Request

NEEDED = ("suite", "datasets", "imbalance", "methods", "seeds", "subset_seeds")


def request_of(command: str, trusted: Iterable[Path] | None = None) -> tuple[Request, bool]:
    """The request of a command from `Request.command`, and whether it names tuned methods.

    Args:
        command: of a record, which somebody else may have written.
        trusted: folders whose method files may be imported; None: none will be imported.

    Raises:
        InputError: for another command, as a record that was edited may have, and for one that names other folders.
    """
    try:
        request, tuned = _request_of(command)
    except (argparse.ArgumentError, TypeError, ValueError) as error:
        raise InputError(f"the record's command cannot be repeated ({one_line(error)}): {command[:200]}") from error
    if trusted is not None:
        known = {folder.resolve() for folder in trusted}
        for folder in request.methods_dirs:
            if folder.resolve() not in known:
                raise InputError(
                    f"the cell was trained with the methods in {folder}; add --methods-dir {shlex.quote(str(folder))} "
                    "if you trust these files"
                )
    return request, tuned


def _request_of(command: str) -> tuple[Request, bool]:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False, add_help=False)
    for name in ("suite", "datasets", "imbalance", "methods", "seeds", "subset-seeds", "recipe"):
        parser.add_argument(f"--{name}")
    for name in ("set", "data", "methods-dir"):
        parser.add_argument(f"--{name}", action="append", default=[])
    for name in ("tuned", "as-published"):
        parser.add_argument(f"--{name}", action="store_true")
    program, name, *options = shlex.split(command)
    if (program, name) != ("ltbench", "run"):
        raise ValueError("it is not ltbench run")
    words, _ = parser.parse_known_args(options)  # the others say where it is trained
    if missing := [name for name in NEEDED if getattr(words, name) is None]:
        raise ValueError(f"--{missing[0].replace('_', '-')} is missing")
    changes = (text.partition("=") for text in words.set)
    places = (text.partition("=") for text in words.data)
    request = Request(
        suite=words.suite,
        datasets=(words.datasets,),
        imbalance=(words.imbalance,),
        methods=(words.methods,),
        seeds=(int(words.seeds.rstrip(",")),),
        subset_seeds=(int(words.subset_seeds.rstrip(",")),),
        changes={key: parse_value(value) for key, _, value in changes},
        data={key: value for key, _, value in places},
        methods_dirs=tuple(map(Path, words.methods_dir)),
        recipe=words.recipe,
        as_published=words.as_published,
    )
    return request, words.tuned

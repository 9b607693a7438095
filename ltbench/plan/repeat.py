"""From the command that repeats a cell back to what it asks for."""

import argparse
import shlex
from pathlib import Path

from ltbench.errors import InputError, one_line
from ltbench.method.entries import parse_value
from ltbench.plan.request import Request

NEEDED = ("suite", "datasets", "imbalance", "methods", "seeds", "subset_seeds")


def request_of(command: str) -> tuple[Request, bool]:
    """The request of a command from `Request.command`, and whether it names tuned methods.

    Raises:
        InputError: for another command, as a record that was edited may have.
    """
    try:
        return _request_of(command)
    except (argparse.ArgumentError, TypeError, ValueError) as error:
        raise InputError(f"the record's command cannot be repeated ({one_line(error)}): {command[:200]}") from error


def _request_of(command: str) -> tuple[Request, bool]:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False, add_help=False)
    for name in ("suite", "datasets", "imbalance", "methods", "seeds", "subset-seeds", "recipe"):
        parser.add_argument(f"--{name}")
    for name in ("set", "data", "methods-dir"):
        parser.add_argument(f"--{name}", action="append", default=[])
    for name in ("tuned", "as-published"):
        parser.add_argument(f"--{name}", action="store_true")
    words, _ = parser.parse_known_args(shlex.split(command)[2:])  # the others say where it is trained
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

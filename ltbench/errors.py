"""Errors that the user can fix, and errors as one line of text."""

import difflib
import sys
from collections.abc import Iterable

SAID = set[str]()
"""The lines that the running command printed by ``say_once``."""


class InputError(ValueError):
    """The command or an input is wrong: one line that says what is wrong, what is allowed and how to fix it.

    The command line prints the line without a traceback and exits with status 2.

    Attributes:
        culprit: the wrong name, where there is one.
    """

    def __init__(self, message: str, culprit: str = "") -> None:
        super().__init__(message)
        self.culprit = culprit


class Incomplete(RuntimeError):
    """Cells have no record although they were trained; the command line prints the line and exits with status 1."""


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> InputError:
    """The error for a name that does not exist, with the nearest name that exists.

    Args:
        kind: of the thing that the name is for, such as ``suite``.
        name: that does not exist.
        known: all names that exist; the message lists them where there are at most 20.
        hint: what else is allowed, or how to list the names.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"; did you mean '{near[0]}'?" if near else ""
    listing = f"known: {', '.join(known)}" if 0 < len(known) <= 20 else ""
    allowed = "; ".join(filter(None, (listing, hint)))
    return InputError(f"unknown {kind} '{name}'{guess}" + (f" ({allowed})" if allowed else ""), name)


def printable(text: str) -> str:
    """A text in which control characters, which a terminal would obey, are written as Python writes them."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def one_line(error: BaseException) -> str:
    """The first line of an error with its type; without the type where ltbench itself raised the error."""
    kind, ours = type(error).__name__, type(error).__module__.startswith("ltbench.")
    if isinstance(error, SyntaxError):
        return f"{kind}: {error.msg} (line {error.lineno})"
    first = printable(next(iter(str(error).splitlines()), ""))
    return first if first and ours else f"{kind}: {first}" if first else kind


def say_once(line: str) -> None:
    """Print a line on stderr, unless the running command has printed it already."""
    if line not in SAID:
        SAID.add(line)
        print(f"ltbench: {printable(line)}", file=sys.stderr)

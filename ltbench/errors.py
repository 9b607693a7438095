"""What is told to the user when an input is wrong."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The command or an input is wrong: one line that names the culprit, what is allowed and what mends it.

    The command line prints it without a traceback and exits with status 2.

    Attributes:
        culprit: the offending name, where there is one.
    """

    def __init__(self, message: str, culprit: str = "") -> None:
        super().__init__(message)
        self.culprit = culprit


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> InputError:
    """The error for a name that does not exist, with the nearest name that does."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"; did you mean '{near[0]}'?" if near else ""
    listing = f"known: {', '.join(known)}" if 0 < len(known) <= 20 else ""
    allowed = "; ".join(filter(None, (listing, hint)))
    return InputError(f"unknown {kind} '{name}'{guess}" + (f" ({allowed})" if allowed else ""), name)


def one_line(error: BaseException) -> str:
    """An error in one line: ours as it is, any other with its type."""
    where = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
    text = str(error.msg if isinstance(error, SyntaxError) else error)
    if isinstance(error, InputError):
        return text
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}{where}"

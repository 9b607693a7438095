"""The command line: words and exit statuses. Everything heavy is imported inside the command that uses it."""

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ltbench import __version__
from ltbench.cli import clean, compare, data, export, methods, mlflow, nightly, results, run, slurm, verify
from ltbench.cli.options import examples
from ltbench.errors import SAID, Incomplete, InputError, one_line, printable

TRAINS = {"run", "tune", "nightly"}
"""The commands that go on where they were stopped."""


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command. Typer would only print that it aborted after Ctrl-C, and after every EOFError: a bug here."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            kept = "; finished cells are kept; repeat the command to continue"
            print(f"ltbench: interrupted{kept if ctx.invoked_subcommand in TRAINS else ''}", file=sys.stderr)
            raise typer.Exit(130) from None
        except EOFError as error:
            raise RuntimeError("a file or another process of ltbench ended too early") from error


app = typer.Typer(
    name="ltbench",
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=examples(
        "ltbench run                        # the quickstart: a table in about a minute",
        "ltbench run --methods ce,crt       # two methods only",
        "ltbench run --suite cifar100-lt    # another suite",
        "ltbench new my_method              # your own method",
    ),
)
for group in (run, slurm, results, compare, nightly, verify, clean, export, methods):
    app.add_typer(group.app)
app.add_typer(data.app, name="data", rich_help_panel=methods.PANEL)
app.add_typer(mlflow.app)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Which long-tailed learning method should I use, and by how much is it better?

    Train methods on the same data with the same recipe and seeds, and compare them in a leaderboard.
    """
    if version:
        print(f"ltbench {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line.

    Wrong input is one line on stderr and exit status 2. A file, memory or encoding that fails is one line and status 1.
    Ctrl-C and SIGTERM are one line and status 130. A closed pipe, as of ``ltbench ls methods | head``, ends it silently
    with status 1. Everything else is a bug: its traceback is printed.
    """
    SAID.clear()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names with any bytes, terminals without UTF-8
    try:
        try:
            with _interruptible():
                app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where its errors are caught
    except InputError as error:
        _end(str(error), 2)
    except Incomplete as error:
        _end(str(error), 1)
    except BrokenPipeError:
        _end("", 1)
    except MemoryError:
        _end("there is not enough memory; use smaller images, fewer seeds or --workers 1", 1)
    except UnicodeError as error:
        _end(f"a text cannot be read or written ({one_line(error)}); save the file as UTF-8, or set PYTHONUTF8=1", 1)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        _end(f"{error.strerror or one_line(error)}{where}", 2 if error.errno == errno.ENAMETOOLONG else 1)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first Ctrl-C or SIGTERM; a second one ends the process at once."""

    def stop(number: int, frame: object) -> None:
        for one in handlers:
            signal.signal(one, signal.SIG_DFL)
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(line: str, status: int) -> None:
    """End the process with a line on stderr."""
    if line:
        print(f"ltbench: {printable(line)}", file=sys.stderr)
    if status == 1 and sys.stdout is sys.__stdout__ and sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
    sys.exit(status)

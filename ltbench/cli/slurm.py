"""The command ``slurm``."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli import options
from ltbench.errors import InputError

PANEL = "Run"
app = typer.Typer()


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench slurm --shards 8 --time 12:00:00 --gpus 1 -o job.sh -- --suite cifar100-lt",
        "sbatch job.sh                              # again after the time limit: it continues",
    ),
)
def slurm(
    shards: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Number of tasks of the job array.")],
    run_options: Annotated[
        list[str] | None, typer.Argument(metavar="-- OPTIONS", help="Options of 'ltbench run'.", show_default=False)
    ] = None,
    time: Annotated[str | None, typer.Option(metavar="TIME", help="Time limit of a task: 12:00:00, 2-00:00.")] = None,
    gpus: Annotated[int | None, typer.Option(metavar="N", min=1, help="GPUs of a task.", show_default="none")] = None,
    cpus: Annotated[int, typer.Option(metavar="N", min=1, help="CPU cores of a task.")] = 1,
    partition: Annotated[str | None, typer.Option(metavar="NAME", help="Partition of the cluster.")] = None,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Account that pays.")] = None,
    sbatch: Annotated[
        list[str], typer.Option(metavar="OPTION", help="Another option of sbatch: mem=32G, qos=long. Repeatable.")
    ] = [],  # noqa: B006
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write.", show_default="stdout")
    ] = None,
) -> None:
    """Write the script of a Slurm job array that trains a suite, one shard in each task.

    The tasks run in the present working folder with the present Python. The folder and the results folder in it must be
    on a disk that all nodes share.
    """
    words = list(run_options or ())
    _check(words)
    if (gpus or 1) > 1 and "--device" not in words:
        words += ["--device", "all"]
    asked = {"time": time, "gpus-per-task": gpus, "partition": partition, "account": account}
    lines = [f"{name}={value}" for name, value in asked.items() if value is not None]
    script = _script(shards, [f"cpus-per-task={cpus}", *lines, *(text.lstrip("-") for text in sbatch)], words)
    if output is None:
        print(script, end="")
    else:
        output.write_text(script)


def _check(words: list[str]) -> None:
    """End as ``ltbench run`` does where it would not understand the words; raise InputError where they name a shard."""
    from typer.main import get_command

    from ltbench.cli.run import app as training

    if any(word.partition("=")[0] == "--shard" for word in words):
        raise InputError("--shard is set by the script; remove it", "--shard")
    command = get_command(training).commands["run"]  # type: ignore[attr-defined]
    command.make_context("ltbench run", list(words))


def _script(shards: int, lines: list[str], words: list[str]) -> str:
    for line in lines:
        if not line.isprintable():
            raise InputError(f"option of sbatch {line!r} has a line break or a control character; remove it")
    program = Path(sys.executable).with_name("ltbench")
    command = [str(program)] if program.exists() else [sys.executable, "-m", "ltbench"]
    run = shlex.join([*command, "run", *words])
    return "\n".join(
        [
            "#!/bin/bash",
            "#SBATCH --job-name=ltbench",
            f"#SBATCH --array=1-{shards}",
            "#SBATCH --ntasks=1",
            *(f"#SBATCH --{line}" for line in lines),
            "set -euo pipefail",
            f"cd {shlex.quote(str(Path.cwd()))}",
            f'exec {run} --shard "$SLURM_ARRAY_TASK_ID/{shards}"',
            "",
        ]
    )

"""The options that several commands share, and the functions that read their texts."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ltbench.errors import InputError

WHAT = "What to run"
SEARCH = "Search"
MACHINE = "Machine"
OUTPUT = "Folders and output"

SuiteToRun = Annotated[
    str,
    typer.Option(
        "--suite", metavar="NAME|FILE", help="Suite: a name from 'ltbench ls suites' or a file.", rich_help_panel=WHAT
    ),
]
Methods = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Methods, instead of the suite's: names or patterns, separated by commas. "
        "NAME(KEY=VALUE) sets hyper-parameters, NAME(preset=cifar10-100) takes those of a published accuracy, and "
        "NAME(after=OTHER) names the method that the features are from.",
        rich_help_panel=WHAT,
    ),
]
Datasets = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="Data sets, instead of the suite's, separated by commas.", rich_help_panel=WHAT),
]
Imbalances = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Imbalance factors, instead of the suite's: 100,50 or exp:100,step:10,natural. Default where --datasets "
        "names only images of your own: natural.",
        rich_help_panel=WHAT,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        metavar="N|LIST",
        help="Training seeds: '3' means seeds 0 to 2; '0,4' means these two; '4,' means only seed 4.",
        rich_help_panel=WHAT,
    ),
]
SubsetSeeds = Annotated[
    str | None,
    typer.Option(
        metavar="N|LIST",
        help="Seeds that choose the images of the long-tailed subset, written like --seeds. Each gets its own table.",
        rich_help_panel=WHAT,
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="Recipe, instead of the suite's: a name from 'ltbench ls recipes'. --set recipe.… applies on top.",
        rich_help_panel=WHAT,
    ),
]
AsPublished = Annotated[
    bool,
    typer.Option(
        "--as-published",
        help="Train each method with the hyper-parameters and the recipe of a published accuracy. The rows form a "
        "table of their own, in which methods are not compared.",
        rich_help_panel=WHAT,
    ),
]
Tuned = Annotated[
    bool,
    typer.Option(
        "--tuned",
        help="Also train with the hyper-parameters that 'ltbench tune' has found, as rows of their own.",
        rich_help_panel=WHAT,
    ),
]
Changes = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting: recipe.epochs=5, METHOD.HYPERPARAMETER=2, holdout=25. Repeatable.",
        rich_help_panel=WHAT,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would run, and write nothing.", rich_help_panel=WHAT)
]

Trials = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="Trials of each method, the same for all.", rich_help_panel=SEARCH),
]
TrainingsOfATrial = Annotated[
    int,
    typer.Option(
        "--seeds",
        metavar="N",
        min=1,
        help="Training runs of each trial, one per seed. A trial below the median gets no further run.",
        rich_help_panel=SEARCH,
    ),
]
SamplerSeed = Annotated[
    int, typer.Option(metavar="N", min=0, help="Seed of the hyper-parameter sampler.", rich_help_panel=SEARCH)
]

DEVICE = "Device: auto, cpu, cuda, cuda:1."
Device = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Device: auto, cpu, cuda, cuda:1, or all for one worker on each GPU.",
        rich_help_panel=MACHINE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Processes that train at the same time. Default: one per CPU core, or one for a GPU.",
        rich_help_panel=MACHINE,
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        help="CPU threads of each process. Results with another number of threads differ by rounding.",
        rich_help_panel=MACHINE,
    ),
]
Tier = Annotated[
    Literal["eager", "graph", "compiled"],
    typer.Option(
        help="How training steps run. 'graph' and 'compiled' need CUDA and are not yet tested on a GPU.",
        rich_help_panel=MACHINE,
    ),
]
RunsPerDevice = Annotated[
    str,
    typer.Option(
        metavar="N|auto",
        help="Cells trained at the same time on one device, 1 to 16. More than 1 is not yet tested on a GPU.",
        rich_help_panel=MACHINE,
    ),
]
Executor = Annotated[
    Literal["local", "ray"],
    typer.Option(
        help="Where workers run: 'local' on this machine; 'ray' on the Ray cluster of RAY_ADDRESS or of this machine, "
        "or on one started here.",
        rich_help_panel=MACHINE,
    ),
]
Isolate = Annotated[
    bool,
    typer.Option(help="Train each method in processes of its own.", rich_help_panel=MACHINE),
]
ImagesIn = Annotated[
    Literal["auto", "device", "host", "file"],
    typer.Option(
        help="Where decoded images are kept during training: memory of the device, memory of the host, or a file. "
        "'auto' takes the first that has room.",
        rich_help_panel=MACHINE,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Run only part I of N: 1/8 to 8/8 on eight machines.", rich_help_panel=MACHINE),
]
CheckpointEvery = Annotated[
    float, typer.Option(metavar="SECONDS", min=0, help="Time between checkpoints.", rich_help_panel=MACHINE)
]

Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Results folder.", rich_help_panel=OUTPUT)]
MethodsDir = Annotated[
    list[Path],
    typer.Option(
        "--methods-dir",
        metavar="DIR",
        help="Folder with more methods, besides ./methods. Repeatable.",
        rich_help_panel=OUTPUT,
    ),
]
DataPlaces = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="NAME=PATH",
        help="Use images you already have: the official archive of data set NAME, or NAME=imagefolder:PATH for a "
        "folder of images, or another form of 'ltbench ls datasets'. Repeatable.",
        rich_help_panel=OUTPUT,
    ),
]
Tracking = Annotated[
    bool,
    typer.Option(
        "--tracking/--no-tracking",
        envvar="LTBENCH_TRACKING",
        help="Update MLflow while training.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
ShotGroups = Annotated[
    str,
    typer.Option(
        "--shots",
        metavar="GROUPS",
        help="Groups of classes: '20,100' (few below 20 training images, many above 100), 'terciles' of the classes by "
        "size, or 'auto': 20,100, or terciles where a group would be empty.",
        rich_help_panel=OUTPUT,
    ),
]
TableFormat = Annotated[
    Literal["table", "markdown", "csv", "json", "latex"],
    typer.Option(help="Output format.", rich_help_panel=OUTPUT),
]
OfSuite = Annotated[str | None, typer.Option("--suite", metavar="NAME", help="Only the cells of this suite.")]


def examples(*lines: str) -> str:
    """The examples at the end of a command's help, one per line."""
    return "\n".join(["[bold]Examples[/]", *(f"  {line}" for line in lines)])


def names(text: str | None) -> tuple[str, ...] | None:
    """Names that commas separate; None: the suite's own."""
    if text is None:
        return None
    # a comma inside NAME(KEY=VALUE, ...) or KIND:FILE,KEY=VALUE separates no names
    parts = re.split(r",(?![^()]*\))(?!\s*\w+=)", text)
    found = tuple(part.strip() for part in parts if part.strip())
    if not found:
        raise InputError("an empty list of names was given; name at least one, or remove the option")
    return found


def seeds(option: str, text: str | None) -> tuple[int, ...] | None:
    """Seeds, as ``--seeds`` and ``--subset-seeds`` write them; None: the suite's own."""
    if text is None:
        return None
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = ()
    if "," not in text and len(numbers) == 1:
        from ltbench.plan.bounds import count_of_seeds

        numbers = count_of_seeds(numbers[0])
    if not numbers or min(numbers) < 0:
        raise InputError(
            f"{option} {text[:60]} is not understood; allowed: '3' (seeds 0 to 2), '0,4' (these two) or '4,' "
            "(only seed 4)"
        )
    return numbers


def changes(texts: list[str]) -> dict[str, Any]:
    """The settings of ``--set`` with their values."""
    from ltbench.method.entries import parse_value

    return {key: parse_value(value) for key, value in _pairs("--set", "KEY=VALUE", texts).items()}


def places(texts: list[str]) -> dict[str, str]:
    """Where the images of data sets are, as ``--data`` says."""
    return _pairs("--data", "NAME=PATH", texts)


def _pairs(option: str, form: str, texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise InputError(f"{option} {text} is not understood; write {option} {form}")
        pairs[key.strip()] = value.strip()
    return pairs


def shots(text: str) -> str | tuple[int, int]:
    """The groups of ``--shots``."""
    if text in ("auto", "terciles"):
        return text
    found = re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", text, re.ASCII)
    if found is None or not 0 < int(found[1]) <= int(found[2]):
        raise InputError(f"--shots {text} is not understood; allowed: auto, terciles, or two numbers such as 20,100")
    return int(found[1]), int(found[2])


def runs(text: str) -> int | Literal["auto"]:
    """The number of ``--runs-per-device``."""
    if text == "auto":
        return "auto"
    if not (re.fullmatch(r"\d{1,2}", text, re.ASCII) and 1 <= int(text) <= 16):
        raise InputError(f"--runs-per-device {text} is not understood; allowed: 1 to 16, auto")
    return int(text)


def part_of(text: str) -> tuple[int, int]:
    """The part of ``--shard`` and the number of parts."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard {text} is not understood; allowed: 1/8 to 8/8, for eight parts")
    return int(found[1]), int(found[2])


def existing(results: Path) -> Path:
    """The results folder; raises InputError where it does not exist."""
    if not results.is_dir():
        raise InputError(
            f"results folder {results} does not exist; create it with ltbench run, or choose another with --results DIR"
        )
    return results

"""The commands about data sets: ``data check`` and ``data prepare``; and what a run says about images of one's own."""

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ltbench.cli import options
from ltbench.errors import printable

if TYPE_CHECKING:
    from ltbench.data.files import FileSet

app = typer.Typer(no_args_is_help=True, help="Check a data set, or download and decode it.")

Name = Annotated[
    str, typer.Argument(help="A data set from 'ltbench ls datasets', such as cifar10 or imagefolder:PATH.")
]
ImageSize = Annotated[
    int | None,
    typer.Option(metavar="PIXELS", min=4, help="Side to which images are resized, as in recipe.image_size."),
]
ENOUGH = 3.0
"""Half-width in points up to which a test set is called large enough to compare methods (our rule)."""


@app.command(
    epilog=options.examples(
        "ltbench data check cifar10",
        "ltbench data check places-lt",
        "ltbench data check imagefolder:photos",
        "ltbench data check list:train.txt,test=test.txt,root=photos",
        "ltbench data check csv:photos.csv,path=file,label=species",
    )
)
def check(
    name: Name,
    image_size: ImageSize = None,
    data: options.DataPlaces = [],  # noqa: B006
    as_json: options.Json = False,
) -> None:
    """Check that a data set is complete; if not, say how to fix it, or what to download.

    Also say where the test images come from, how many images each class has, and how precise results can be.
    """
    from ltbench.data import load
    from ltbench.data.large import Missing, instructions
    from ltbench.data.sources import tested

    try:
        images = load(name, image_size, options.places(data))
    except Missing:
        if not as_json:
            print(instructions(name))
        raise
    height, width, channels = images.train.images.shape[1:]
    splits = {"train": images.train, "val": images.val, "test": images.test}
    counts = {split: content.counts(len(images.classes)) for split, content in splits.items() if content is not None}
    facts: dict[str, Any] = {
        "name": images.name,
        "found": images.found,
        "test images from": tested(name, images),
        "images": f"{width}x{height}, {'grey' if channels == 1 else 'colour'}",
        "classes": len(images.classes),
        **{split: sum(of_split) for split, of_split in counts.items()},
        **{f"images per class ({split})": _range(counts[split]) for split in ("train", "test")},
        "imbalance factor": round(max(counts["train"]) / min(counts["train"]), 2),
        "interval": round(half_width(counts["test"]), 2),
        "fingerprint": images.fingerprint,
    }
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    facts["interval"] = precision(counts["test"])
    for fact, value in facts.items():
        print(printable(f"{fact:24}  {value}"))
    print(printable(f"{name} is complete."))


@app.command(
    epilog=options.examples("ltbench data prepare cifar10", "ltbench data prepare imagefolder:pictures --image-size 64")
)
def prepare(
    name: Name,
    image_size: ImageSize = None,
    data: options.DataPlaces = [],  # noqa: B006
) -> None:
    """Download and decode a data set now, so that the first run starts at once."""
    from ltbench.data import load
    from ltbench.data.home import data_folder

    images = load(name, image_size, options.places(data))
    splits = [split for split in (images.train, images.val, images.test) if split is not None]
    size = sum(split.size_bytes for split in splits) / 1e9
    print(f"{name} is ready: {sum(map(len, splits))} images, {size:.2f} GB decoded; data folder: {data_folder()}")


def described(images: "FileSet", test: Sequence[int]) -> str:
    """One line on a data set: its images, where the test images come from, and how precise results can be.

    Args:
        images: the data set, with or without its test split.
        test: test images of each class, [C].
    """
    train = images.train.counts(len(images.classes))
    val = f", {len(images.val)} val" if images.val is not None else ""
    return (
        f"{images.name} from {images.found}: {len(train)} classes, {sum(train)} train{val}, {sum(test)} test images, "
        f"imbalance factor {max(train) / min(train):.3g}; test images: {images.tested}; {precision(test)}"
    )


def half_width(test: Sequence[int]) -> float:
    """Half-width in points of the 95 % interval that one run's balanced accuracy will have, for recalls of 50 %.

    This is the expectation of ``results.statistics.image_error`` times 1.96. With n_c test images, the recall p of a
    class has the variance p (1 - p) / n_c, which is largest at 50 %; balanced accuracy is the mean over classes.

    Args:
        test: test images of each class, [C], each at least 1.
    """
    return 1.96 * 100 * math.sqrt(sum(0.25 / n for n in test)) / len(test)


def precision(test: Sequence[int]) -> str:
    """What the size of a test set means for a comparison, in words."""
    width = half_width(test)
    verdict = (
        "enough to compare methods"
        if width <= ENOUGH
        else f"few: methods that differ by less than about {width:.0f} points cannot be distinguished"
    )
    return f"balanced accuracy ± {width:.1f} points (95 %, one run, at recalls of 50 %), {verdict}"


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"

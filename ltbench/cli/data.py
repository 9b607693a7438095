"""The commands about data sets: ``data check`` and ``data prepare``."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ltbench.cli import options
from ltbench.errors import printable

app = typer.Typer(no_args_is_help=True, help="Check a data set, or download and decode it.")

Name = Annotated[
    str, typer.Argument(help="A data set from 'ltbench ls datasets', such as cifar10 or imagefolder:PATH.")
]
ImageSize = Annotated[
    int | None,
    typer.Option(metavar="PIXELS", min=4, help="Side to which images are resized, as in recipe.image_size."),
]


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
    from ltbench.data.precision import half_width, precision
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


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"

"""The commands about data sets: ``data check`` and ``data prepare``."""

import json
from typing import Annotated, Any

import typer

from ltbench.cli import options

app = typer.Typer(no_args_is_help=True, help="Check a data set, or download and decode it.")

Name = Annotated[str, typer.Argument(help="A data set from 'ltbench ls datasets', or imagefolder:PATH.")]
ImageSize = Annotated[
    int | None,
    typer.Option(metavar="PIXELS", min=4, help="Side to which images are resized, as in recipe.image_size."),
]


@app.command(epilog=options.examples("ltbench data check cifar10", "ltbench data check imagefolder:photos"))
def check(
    name: Name,
    image_size: ImageSize = None,
    data: options.DataPlaces = [],  # noqa: B006
    as_json: options.Json = False,
) -> None:
    """Check that a data set is complete; if not, say how to fix it."""
    from ltbench.data import load

    images = load(name, image_size, options.places(data))
    height, width, channels = images.train.images.shape[1:]
    splits = {"train": images.train, "val": images.val, "test": images.test}
    counts = images.train.counts(len(images.classes))
    facts: dict[str, Any] = {
        "name": images.name,
        "found": images.found,
        "images": f"{width}x{height}, {'grey' if channels == 1 else 'colour'}",
        "classes": len(images.classes),
        **{split: len(content) for split, content in splits.items() if content is not None},
        "images per class (train)": str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}",
        "fingerprint": images.fingerprint,
    }
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for fact, value in facts.items():
        print(f"{fact:24}  {value}")
    print(f"{name} is complete.")


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

"""Data sets by name.

The names are ``digits``, ``fashion-mnist``, ``cifar10``, ``cifar100``, ``imagenet-lt`` and ``imagefolder:PATH``.
``--data NAME=PATH`` and ``--data NAME=imagefolder:PATH`` set where the images of NAME are stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ltbench.data import archives, folder
from ltbench.data.home import data_folder
from ltbench.data.images import ImageSet
from ltbench.data.resize import resized
from ltbench.errors import InputError, unknown


@dataclass(frozen=True)
class Source:
    """A named data set: its description, and the function that reads it (from a given folder, or None)."""

    about: str
    read: Callable[[Path | None], ImageSet]


def _not_distributed(given: Path | None) -> ImageSet:
    raise InputError(
        "imagenet-lt cannot be downloaded; put the images of its published lists into PATH/{train,val,test}/CLASS/ "
        "and add --data imagenet-lt=imagefolder:PATH",
        "imagenet-lt",
    )


SOURCES: dict[str, Source] = {
    "digits": Source("8x8 grey hand-written digits, 10 classes; comes with scikit-learn", archives.digits),
    "fashion-mnist": Source("28x28 grey clothes, 10 classes x 6,000", archives.fashion_mnist),
    "cifar10": Source("32x32 colour, 10 classes x 5,000", archives.cifar10),
    "cifar100": Source("32x32 colour, 100 classes x 500", archives.cifar100),
    "imagenet-lt": Source("1,000 classes x 5 to 1,280; only from your own image folder", _not_distributed),
}
FOLDER = "imagefolder:"


def check_name(name: str) -> None:
    """Check the name of a data set.

    Raises:
        InputError: for an unknown name.
    """
    if name not in SOURCES and not (name.startswith(FOLDER) and len(name) > len(FOLDER)):
        raise unknown("data set", name, [*SOURCES, "imagefolder:PATH"])


def load(name: str, image_size: int | None = None, where: Mapping[str, str] | None = None) -> ImageSet:
    """Read and verify a data set.

    Args:
        name: a key of ``SOURCES``, or ``imagefolder:PATH``.
        image_size: height and width in pixels that images are resized to; None: not resized.
        where: places given by the user (``--data NAME=PLACE``), by name.

    Raises:
        InputError: if the data set is missing, damaged or unknown; the message says how to fix it.
    """
    check_name(name)
    for given in where or {}:
        check_name(given)
    place = (where or {}).get(name)
    if name.startswith(FOLDER):
        path = Path(name.removeprefix(FOLDER)).expanduser()
        return folder.read(path, FOLDER + path.resolve().name, image_size, data_folder())
    if place is not None and place.startswith(FOLDER):
        images = folder.read(Path(place.removeprefix(FOLDER)).expanduser(), name, image_size, data_folder())
        return replace(images, name=f"{name} (imagefolder)")
    given_path = Path(place).expanduser() if place is not None else None
    if given_path is not None and not given_path.exists():
        raise InputError(f"--data {name}={place}: no such file or folder; correct the path")
    return resized(SOURCES[name].read(given_path), image_size)

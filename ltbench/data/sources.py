"""Data sets by name.

The names are those in ``SOURCES``, and ``KIND:PLACE`` for data of one's own, such as ``imagefolder:PATH`` (``OWN``).
``--data NAME=PATH`` and ``--data NAME=KIND:PLACE`` set where the images of NAME are stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ltbench.data import archives, folder, huggingface, listed
from ltbench.data.files import Collection, FileSet, assembled
from ltbench.data.home import data_folder, expanded
from ltbench.data.images import ImageSet
from ltbench.data.large import LARGE, TINY_FOLDER, TINY_SIDE, Missing, check_counts, tiny_imagenet
from ltbench.data.official import recognised
from ltbench.data.packed import short_side
from ltbench.data.resize import BILINEAR, resized
from ltbench.errors import InputError, unknown


@dataclass(frozen=True)
class Source:
    """A named data set.

    Attributes:
        about: its description.
        read: the function that reads it, from a given place or None.
        side: height and width of its images in pixels.
        tested: where its test images came from.
    """

    about: str
    read: Callable[[Path | None], ImageSet]
    side: int = 32
    tested: str = "the official test split"


def _large(name: str) -> Source:
    """A data set that is read from the user's own copy: a folder in its official layout, or a form of ``OWN``."""

    def read(given: Path | None) -> ImageSet:
        raise Missing(name)

    return Source(LARGE[name].about, read)


def _tiny_imagenet(given: Path | None) -> ImageSet:
    place = given or data_folder() / TINY_FOLDER
    if given is None and not place.is_dir():
        raise Missing("tiny-imagenet")
    collection = tiny_imagenet(place)
    check_counts("tiny-imagenet", collection, LARGE["tiny-imagenet"].counts)
    return assembled(collection, "tiny-imagenet", None, data_folder())


SOURCES: dict[str, Source] = {
    "digits": Source(
        "8x8 grey hand-written digits, 10 classes; comes with scikit-learn",
        archives.digits,
        8,
        "all but 120 images of each class, chosen by ltbench with a fixed seed",
    ),
    "fashion-mnist": Source("28x28 grey clothes, 10 classes x 6,000", archives.fashion_mnist, 28),
    "cifar10": Source("32x32 colour, 10 classes x 5,000", archives.cifar10),
    "cifar100": Source("32x32 colour, 100 classes x 500", archives.cifar100),
    "imagenet-lt": _large("imagenet-lt"),
    "places-lt": _large("places-lt"),
    "inaturalist2018": _large("inaturalist2018"),
    "tiny-imagenet": Source(LARGE["tiny-imagenet"].about, _tiny_imagenet, TINY_SIDE),
}
OWN: dict[str, str] = {
    "imagefolder:PATH": "any folder of images: PATH/class/image or PATH/{train,val,test}/class/image",
    "list:FILE": "lines 'PATH LABEL'; add ,test=FILE ,val=FILE ,root=FOLDER",
    "csv:FILE": "a table of images; add also ,path=COLUMN ,label=COLUMN ,split=COLUMN",
    "parquet:FILE": "the same as a Parquet file; needs pyarrow",
    "inaturalist:FILE": "JSON of iNaturalist's competitions; add ,test=FILE ,root=FOLDER",
    "hf:NAME": "a data set of the Hugging Face hub, or the folder of save_to_disk; add ,image=COLUMN ,label=COLUMN",
}
"""The forms in which users name images of their own, each with one line about it."""
KINDS = tuple(form.partition(":")[0] for form in OWN)


def check_name(name: str) -> None:
    """Check the name of a data set.

    Raises:
        InputError: for an unknown name.
    """
    if name not in SOURCES and not is_own(name):
        raise unknown("data set", name, [*SOURCES, *(f"{kind}:…" for kind in KINDS)], "see ltbench ls datasets")


def is_own(place: str) -> bool:
    """Whether a name or place has the form ``KIND:PLACE`` of data of one's own."""
    kind, _, rest = place.partition(":")
    return kind in KINDS and bool(rest)


def _collected(place: str) -> Collection:
    """List the images of data of one's own."""
    kind, _, rest = place.partition(":")
    if kind == "hf":
        return huggingface.collected(rest, data_folder())
    return folder.collected(expanded(rest)) if kind == "imagefolder" else listed.collected(kind, rest)


def _own(place: str, name: str, side: int | None, interpolation: str) -> FileSet:
    """Read data of one's own. An official data set has its own name, whatever folder or list it is read from.

    Args:
        name: of the data set whose images they are; empty: they are called by their folder or file.
    """
    kind = place.partition(":")[0]
    found = _collected(place)
    if name in LARGE:
        check_counts(name, found, LARGE[name].counts)
        shown = name
    else:
        source = found.source.resolve() if kind == "imagefolder" else found.source
        shown = f"{name} ({kind})" if name else f"{kind}:{source.name}"
    return recognised(assembled(found, shown, side, data_folder(), interpolation))


def native_side(name: str, where: Mapping[str, str] | None = None) -> int:
    """The usual short side in pixels of the images of a data set, before any resizing.

    Args:
        name: a key of ``SOURCES``, or a form of ``OWN``.
        where: places given by the user, by name.
    """
    place = name if is_own(name) else (where or {}).get(name, "")
    if not is_own(place):
        return SOURCES[name].side
    return short_side([file.path for file in _collected(place).splits["train"]])


def tested(name: str, images: ImageSet) -> str:
    """Where the test images of a data set came from, in words.

    Args:
        name: that it was loaded by.
        images: the data set.
    """
    return images.tested if isinstance(images, FileSet) else SOURCES[name].tested


def load(
    name: str,
    image_size: int | None = None,
    where: Mapping[str, str] | None = None,
    interpolation: str | None = None,
) -> ImageSet:
    """Read and verify a data set.

    Args:
        name: a key of ``SOURCES``, or a form of ``OWN``.
        image_size: height and width in pixels that images are resized to; None: not resized.
        where: places given by the user (``--data NAME=PLACE``), by name.
        interpolation: how images are resized; None: bilinear.

    Raises:
        InputError: if the data set is missing, damaged or unknown; the message says how to fix it.
    """
    check_name(name)
    for given in where or {}:
        check_name(given)
    place, interpolation = (where or {}).get(name), interpolation or BILINEAR
    if is_own(name):
        return _own(name, "", image_size, interpolation)
    if place is not None and is_own(place):
        return _own(place, name, image_size, interpolation)
    given_path = expanded(place) if place is not None else None
    if given_path is not None and not given_path.exists():
        raise InputError(f"--data {name}={place}: no such file or folder; correct the path")
    return resized(SOURCES[name].read(given_path), image_size, interpolation)

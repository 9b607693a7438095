"""Readers of scikit-learn's digits, Fashion-MNIST and CIFAR: from the published files, verified by checksums.

torchvision is imported only for downloads.
"""

import gzip
import hashlib
import importlib.util
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltbench.data.home import data_folder
from ltbench.data.images import ImageSet, Split
from ltbench.data.official import CIFAR_MEAN, CIFAR_STD, in_label_order
from ltbench.errors import InputError, one_line

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")


# ---------------------------------------------------------------------------------------------------------- digits


def digits(place: Path | None) -> ImageSet:
    """Read scikit-learn's 1,797 digits: 120 random images per class (fixed seed) for training, the rest to test."""
    if place is not None:
        raise InputError("data set 'digits' comes with scikit-learn; remove --data digits")
    spec = importlib.util.find_spec("sklearn")  # its data file only: importing scikit-learn takes seconds
    if spec is None or spec.origin is None:
        raise InputError("data set 'digits' comes with scikit-learn, which is not installed; pip install scikit-learn")
    with gzip.open(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz") as file:
        table = np.loadtxt(file, delimiter=",")
    pixels = np.round(table[:, :-1] * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = table[:, -1].astype(np.int64)
    generator = np.random.RandomState(0)
    train = np.sort(np.concatenate([generator.permutation(np.flatnonzero(labels == c))[:120] for c in range(10)]))
    test = np.setdiff1d(np.arange(len(labels)), train)
    return ImageSet(
        "digits",
        tuple(str(c) for c in range(10)),
        Split(pixels[train], labels[train]),
        Split(pixels[test], labels[test]),
        found="scikit-learn",
    )


# ---------------------------------------------------------------------------------------------------- Fashion-MNIST

FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
FASHION_BYTES = 16 + 60_000 * 28 * 28
"""Length of the longest file, uncompressed."""
# SHA-256 of the uncompressed files: Debian's package compresses the same content differently.
FASHION_FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def fashion_mnist(place: Path | None) -> ImageSet:
    """Read Fashion-MNIST from Debian's package or the data folder, or download it through torchvision."""
    home = data_folder() / "FashionMNIST" / "raw"
    candidates = [place] if place is not None else [DEBIAN_FASHION, home]
    found = next((folder for folder in candidates if _idx_file(folder, "train-images-idx3-ubyte")), None)
    if found is None:
        if place is not None:
            raise InputError(f"no train-images-idx3-ubyte(.gz) in {place}; give the folder of the four IDX files")
        _download("FashionMNIST", "fashion-mnist", "apt-get install dataset-fashion-mnist")
        found = home
    arrays = {name: _idx(found, name, digest) for name, digest in FASHION_FILES.items()}
    train, train_labels, test, test_labels = arrays.values()
    return ImageSet(
        "fashion-mnist",
        FASHION_CLASSES,
        Split(train[..., None], train_labels.astype(np.int64)),
        Split(test[..., None], test_labels.astype(np.int64)),
        found=str(found),
    )


def _idx_file(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)


def _idx(folder: Path, name: str, digest: str) -> NDArray[np.uint8]:
    """Read and verify a file in IDX format (big-endian header, then bytes)."""
    path = _idx_file(folder, name)
    if path is None:
        raise InputError(f"{folder / name}.gz is missing; put the four IDX files of Fashion-MNIST there")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(FASHION_BYTES + 1)  # another file may unpack to more than there is memory
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); delete it and download it again") from error
    if hashlib.sha256(raw).hexdigest() != digest:
        raise InputError(f"{path} is not the published file (checksum differs); delete it and download it again")
    dims = raw[3]
    shape = np.frombuffer(raw, ">i4", count=dims, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape)


# ------------------------------------------------------------------------------------------------------------ CIFAR


@dataclass(frozen=True)
class CifarFormat:
    """The "python version" of a CIFAR data set: an archive of pickled batches.

    Attributes:
        name: the data set.
        archive, archive_md5: file name and published checksum.
        folder: the folder inside the archive.
        train, test: names and published MD5 checksums of the pickled files.
        meta: name and MD5 checksum of the pickled file with the class names.
        labels, names: the keys of the labels and of the class names.
        torchvision: the torchvision class that downloads it.
    """

    name: str
    archive: str
    archive_md5: str
    folder: str
    train: dict[str, str]
    test: dict[str, str]
    meta: tuple[str, str]
    labels: str
    names: str
    torchvision: str


CIFAR10 = CifarFormat(
    "cifar10",
    "cifar-10-python.tar.gz",
    "c58f30108f718f92721af3b95e74349a",
    "cifar-10-batches-py",
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    {"test_batch": "40351d587109b95175f43aff81a1287e"},
    ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
    "labels",
    "label_names",
    "CIFAR10",
)
CIFAR100 = CifarFormat(
    "cifar100",
    "cifar-100-python.tar.gz",
    "eb9058c3a382ffc7106e4002c42a8d85",
    "cifar-100-python",
    {"train": "16019d7e3df5f24257cddd939b257f8d"},
    {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    ("meta", "7973b15100ade9c7d40fb424638fde48"),
    "fine_labels",
    "fine_label_names",
    "CIFAR100",
)


def cifar10(place: Path | None) -> ImageSet:
    """Read CIFAR-10 from its official archive, packed or unpacked."""
    return read_cifar(CIFAR10, place)


def cifar100(place: Path | None) -> ImageSet:
    """Read CIFAR-100 from its official archive, packed or unpacked."""
    return read_cifar(CIFAR100, place)


def read_cifar(form: CifarFormat, place: Path | None) -> ImageSet:
    """Read a CIFAR archive, with the images in label order, and those of a class in torchvision's file order.

    Args:
        form: names and checksums.
        place: the archive, its unpacked folder, or a folder that contains one of them; None: the data folder, with a
            download if the archive is not there.

    Raises:
        InputError: if the archive is missing, truncated or altered.
    """
    root = place if place is not None else data_folder()
    open_member = _cifar_files(form, root)
    if open_member is None:
        if place is not None:
            raise InputError(
                f"--data {form.name}={place}: there is neither {form.archive} nor {form.folder}/; give the folder that "
                f"contains one of them, or {form.name}=imagefolder:PATH for a folder of images"
            )
        _download(form.torchvision, form.name, f"put {form.archive} into {root}, or give --data {form.name}=FOLDER")
        open_member = _cifar_files(form, root)
        assert open_member is not None, "torchvision downloaded to another place"

    def split(files: dict[str, str]) -> Split:
        batches = [_unpickle(open_member(name, md5)) for name, md5 in files.items()]
        pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([np.asarray(batch[form.labels], np.int64) for batch in batches])
        return in_label_order(Split(pixels.transpose(0, 2, 3, 1), labels))

    classes = tuple(_unpickle(open_member(*form.meta))[form.names])
    train, test = split(form.train), split(form.test)
    return ImageSet(form.name, classes, train, test, found=str(root), mean=CIFAR_MEAN, std=CIFAR_STD)


def _cifar_files(form: CifarFormat, root: Path) -> Callable[[str, str], bytes] | None:
    """Return a function (file name, MD5) -> verified bytes, of the unpacked folder or the archive; or None."""
    for unpacked in (root / form.folder, root):
        if (unpacked / next(iter(form.train))).is_file():
            return lambda name, md5: _verified((unpacked / name).read_bytes(), md5, unpacked / name)
    archive = root if root.is_file() else root / form.archive
    if not archive.is_file():
        return None
    packed = _verified(archive.read_bytes(), form.archive_md5, archive)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        members = {m.name: file.read() for m in tar if (file := tar.extractfile(m)) is not None}
    return lambda name, md5: _verified(members[f"{form.folder}/{name}"], md5, archive)


def _verified(content: bytes, md5: str, path: Path) -> bytes:
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise InputError(f"{path} is truncated or altered (checksum differs); delete it and download it again")
    return content


def _unpickle(content: bytes) -> dict[str, Any]:
    """Unpickle a verified batch, whose keys are byte strings of Python 2."""
    batch: dict[str, Any] = pickle.loads(content, encoding="latin1")
    return batch


def _download(torchvision_name: str, name: str, otherwise: str) -> None:
    """Download through torchvision into the data folder."""
    from torchvision import datasets

    try:
        getattr(datasets, torchvision_name)(data_folder(), download=True)
    except Exception as error:  # torchvision raises whatever the network layer below it does
        why = one_line(error)
        raise InputError(f"data set '{name}' was not found and cannot be downloaded ({why}); {otherwise}") from error

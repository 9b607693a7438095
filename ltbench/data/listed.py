"""Reader of data sets that a list, a table or iNaturalist's JSON names: one line for each image.

The text after ``list:``, ``csv:``, ``parquet:`` or ``inaturalist:`` is ``FILE[,OPTION=VALUE,...]``. Its options are
``test``, ``val`` (further files), ``root`` (folder of the images; default: that of FILE), and for tables the columns
``path``, ``label`` and ``split``.
"""

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ltbench.data.files import Collection, File
from ltbench.data.home import expanded
from ltbench.errors import InputError, unknown

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Values of a split column, and the split that they mean."""


class Row(NamedTuple):
    """One image: its path and label as written, what names it, and its split where the table has a column for it."""

    path: str
    label: str
    line: str
    split: str | None = None


class Spec(NamedTuple):
    """A source, parsed: the files by split (``train`` is the first) and the other options."""

    files: Mapping[str, Path]
    root: Path
    columns: Mapping[str, str]


def collected(kind: str, text: str) -> Collection:
    """List the images that a list or table names.

    Args:
        kind: a key of ``READERS``.
        text: what follows ``KIND:``.

    Raises:
        InputError: for an unknown option, a file that cannot be read or is empty, a line that is wrong or names an
            image for the second time.
    """
    spec = parsed(kind, text)
    names: dict[str, str] = {}
    rows: dict[str, list[Row]] = {}
    called: dict[str, str] = {}
    for split, file in spec.files.items():
        found = list(_guarded(READERS[kind], file, spec, names))
        if not found:
            raise InputError(f"{file} names no image; correct the file")
        for row in found:
            of_row = row.split or split
            rows.setdefault(of_row, []).append(row)
            called[of_row] = str(file) if row.split is None else f"{file} (split {of_row})"
    source = spec.files["train"]
    if "train" not in rows:
        raise InputError(f"{source} has no row of split train; correct its split column")
    order = _order(rows)
    labels = {label: i for i, label in enumerate(order)}
    _check_names(rows, spec.root)
    splits = {
        split: [File(spec.root / row.path, labels[row.label], row.line) for row in members]
        for split, members in rows.items()
    }
    classes = tuple(_named(order, names))
    return Collection(source, spec.root, classes, splits, called)


def parsed(kind: str, text: str) -> Spec:
    """Parse ``FILE,OPTION=VALUE,...``.

    Raises:
        InputError: for an unknown, repeated or empty option.
    """
    first, *others = re.split(r",(?=\s*\w+=)", text)
    columns = ("path", "label", "split") if kind in ("csv", "parquet") else ()
    options: dict[str, str] = {}
    for other in others:
        key, _, value = (part.strip() for part in other.partition("="))
        if key not in ("test", "val", "root", *columns):
            raise unknown(f"option of {kind}:", key, ["test", "val", "root", *columns])
        if key in options or not value:
            raise InputError(f"{kind}:{text}: {key}= is {'given twice' if value else 'empty'}; correct it", key)
        options[key] = value
    if not first.strip():
        raise InputError(f"{kind}:{text} names no file; write {kind}:FILE")
    files = {"train": first.strip()} | {split: options[split] for split in ("val", "test") if split in options}
    if "split" in options and len(files) > 1:
        raise InputError(f"{kind}:{text} has split= and further files; remove one of the two", "split")
    paths = {split: expanded(file) for split, file in files.items()}
    root = expanded(options["root"]) if "root" in options else paths["train"].parent
    if not root.is_dir():
        raise InputError(f"folder {root} does not exist; correct root=FOLDER")
    return Spec(paths, root, {column: options[column] for column in columns if column in options})


Reader = Callable[[Path, Spec, dict[str, str]], Iterator[Row]]


def _guarded(reader: Reader, file: Path, spec: Spec, names: dict[str, str]) -> Iterator[Row]:
    """The rows of a file, with one line for a file that cannot be read and for a path or label that is not allowed."""
    try:
        for row in reader(file, spec, names):
            if not row.path or not row.label:
                raise InputError(f"{row.line}: the {'path' if not row.path else 'label'} is empty; correct the line")
            if re.search(r"[\x00-\x1f\x7f]", row.path + row.label + names.get(row.label, "")):
                raise InputError(f"{row.line}: its path or label has a control character; correct it")
            if re.fullmatch(r"-\d+", row.label):
                raise InputError(f"{row.line}: label {row.label} is negative; use 0 or more, or remove the image")
            yield row
    except FileNotFoundError:
        raise InputError(f"{file} does not exist; correct the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} cannot be read ({' '.join(str(error).split())}); replace it") from error


def _list(file: Path, spec: Spec, names: dict[str, str]) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            parts = line.strip().rsplit(maxsplit=1)
            if len(parts) == 1:
                raise InputError(f"{file}, line {number}: {parts[0][:80]!r} is not understood; write PATH LABEL")
            if parts:
                yield Row(parts[0], parts[1], f"{file}, line {number}")


def _csv(file: Path, spec: Spec, names: dict[str, str]) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        header = lines.readline()
        lines.seek(0)
        table = csv.DictReader(lines, delimiter=max(",;\t", key=header.count), strict=True)
        path, label, split = _columns(file, spec, table.fieldnames or ())
        for record in table:
            line = f"{file}, line {table.line_num}"
            if None in record or None in record.values():
                raise InputError(f"{line}: it has not as many fields as the header; correct the line")
            yield _row(record[path], record[label], line, record[split] if split else None)


def _parquet(file: Path, spec: Spec, names: dict[str, str]) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError(f"{file} needs pyarrow; pip install pyarrow, or convert the table to CSV") from None
    try:
        with ParquetFile(file) as table:
            columns = _columns(file, spec, table.schema_arrow.names)
            chosen = table.read([column for column in columns if column]).to_pydict()
    except ArrowException as error:
        raise OSError(str(error)) from error
    for number, values in enumerate(zip(*chosen.values(), strict=True), 1):
        path, label, *split = ("" if value is None else str(value) for value in values)
        yield _row(path, label, f"{file}, row {number}", split[0] if split else None)


def _columns(file: Path, spec: Spec, found: Any) -> tuple[str, str, str | None]:
    """The columns of a table with path, label and split; there need be none for the split."""
    chosen = {key: spec.columns.get(key, key) for key in ("path", "label", "split")}
    for key, column in chosen.items():
        if column not in found and (key != "split" or "split" in spec.columns):
            known = (" ".join(str(name).split()) for name in found)
            raise unknown(f"column of {file}", column, known, f"set {key}=COLUMN")
    if len(set(chosen.values())) < 3:
        raise InputError(f"{file}: one column is given for two of path, label and split; correct it")
    use_split = chosen["split"] in found and len(spec.files) == 1
    return chosen["path"], chosen["label"], chosen["split"] if use_split else None


def _row(path: str, label: str, line: str, split: str | None) -> Row:
    if split is not None and split.strip().lower() not in SPLITS:
        raise InputError(f"{line}: unknown split {split!r}; allowed: train, val, test")
    return Row(path.strip(), label.strip(), line, split if split is None else SPLITS[split.strip().lower()])


def _inaturalist(file: Path, spec: Spec, names: dict[str, str]) -> Iterator[Row]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        categories = {str(int(c["id"])): str(c["name"]) for c in content["categories"]}
        paths = {image["id"]: str(image["file_name"]) for image in content["images"]}
        marks = [(mark["image_id"], str(int(mark["category_id"]))) for mark in content["annotations"]]
        unmarked = paths.keys() - {image for image, _ in marks}
    except UnicodeDecodeError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{file} is not iNaturalist's JSON ({type(error).__name__}: {error}); it needs images (id, file_name), "
            "annotations (image_id, category_id) and categories (id, name)"
        ) from error
    for label, name in categories.items():
        if names.setdefault(label, name) != name:
            raise InputError(f"{file}: category {label} is {name!r} here and {names[label]!r} in another file")
    if unmarked:
        first = min(map(repr, unmarked))
        raise InputError(f"{file}, image {first}: it has no annotation, so its class is not known; remove it")
    for image, label in marks:
        line = f"{file}, annotation of image {image!r}"
        if image not in paths or label not in names:
            what = f"category {label}" if image in paths else "the image"
            raise InputError(f"{line}: {what} is not in the file; correct it")
        yield Row(paths[image], label, line)


READERS: dict[str, Reader] = {"list": _list, "csv": _csv, "parquet": _parquet, "inaturalist": _inaturalist}


def _order(rows: Mapping[str, list[Row]]) -> list[str]:
    """All labels in order: integers by value; if any is another text, all by text, as class folders are."""
    labels = {row.label for members in rows.values() for row in members}
    integers = all(re.fullmatch(r"0|[1-9]\d{0,18}", label, re.ASCII) for label in labels)
    return sorted(labels, key=int) if integers else sorted(labels)


def _named(labels: list[str], names: Mapping[str, str]) -> Iterator[str]:
    """The class names: the labels, or those of the categories, with the label where two categories share a name."""
    found = [names.get(label, label) for label in labels]
    times = Counter(found)
    for label, name in zip(labels, found, strict=True):
        yield name if times[name] == 1 else f"{name} ({label})"


def _check_names(rows: Mapping[str, list[Row]], root: Path) -> None:
    """Raises InputError for an image that is named twice."""
    seen: dict[str, str] = {}
    for members in rows.values():
        for row in members:
            place = os.path.normpath(os.path.join(root, row.path))  # noqa: PTH118  # a Path is slow
            if place in seen:
                raise InputError(f"{row.line}: image {row.path} is also in {seen[place]}; remove one of the two")
            seen[place] = row.line

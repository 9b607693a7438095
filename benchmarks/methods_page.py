"""Writes the generated part of docs/methods.md from the files of the methods: ``python -m benchmarks.methods_page``."""

import ast
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.committed import ROOT, Figure, figures
from ltbench.method.contract import Method
from ltbench.method.hyperparameters import Choice, Hyperparameter, Range
from ltbench.method.published import Published
from ltbench.method.registry import Entry, Registry, discover
from ltbench.method.source import BUILTIN
from ltbench.plan.as_published import obstacles

PAGE = ROOT / "docs" / "methods.md"
MARKER = "<!-- Below this line: python -m benchmarks.methods_page -->\n"
SETS = ("cifar10", "cifar100")


def page(written: str, registry: Registry) -> str:
    """The page: what is above the marker in ``written``, and the generated part.

    Args:
        registry: has the methods; those outside of the built-in folder are skipped.
    """
    entries = [entry for entry in registry.values() if entry.file.parent == BUILTIN]
    parts = [written.partition(MARKER)[0] + MARKER, _overview(entries, registry)]
    return "\n".join([*parts, *(_section(entry, registry) for entry in entries)])


def _overview(entries: list[Entry], registry: Registry) -> str:
    rows = [
        (f"[{entry.name}](#{entry.name})", _after(entry), _cost(entry, registry), *(_covered(entry, s) for s in SETS))
        for entry in entries
    ]
    return "## All methods\n\n" + table(
        ("method", "comes after", "cost", *(f"{s}-lt as published" for s in SETS)), rows
    )


def _section(entry: Entry, registry: Registry) -> str:
    name = entry.name
    after = f" Comes after {_after(entry)}." if entry.method.after else ""
    links = f"[methods/{name}.py](../methods/{name}.py). Cost: {_cost(entry, registry)}.{after}"
    parts = [f"### {name}", *_paragraphs(entry.file), links]
    if space := entry.method.space():
        rows = [(f"`{key}`", _value(one.default), _searched(one)) for key, one in space.items()]
        parts.append(table(("hyper-parameter", "default", "tuning searches"), rows).rstrip())
    if entry.method.published:
        heads = ("published: imbalance: accuracy", "source", "recipe", "epoch", "settings", "--as-published")
        parts.append(table(heads, _published(entry.method)).rstrip())
    if rows := [_measured(figure) for figure in figures() if figure.method == name]:
        parts.append(table(("measured here", "balanced accuracy", "seeds"), rows).rstrip())
    return "\n\n".join(parts) + "\n"


def _paragraphs(file: Path) -> Iterator[str]:
    """The paragraphs of the docstring of a method's file, the deviation in one of its own, with links to arXiv."""
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    for paragraph in re.sub(r"\s+(Deviation:)", r"\n\n\1", text).split("\n\n"):
        one_line = _escaped(re.sub(r"``(.*?)``", r"`\1`", " ".join(paragraph.split())))
        yield re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", one_line)


def _published(method: type[Method]) -> Iterator[tuple[str, ...]]:
    """A row for each data set of each source with the same settings."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for figure in method.published:
        own = ", ".join(f"{key}={_value(value)}" for key, value in figure.settings.items())
        why = ", ".join(obstacles(figure, method.space()))
        source, recipe = f"{figure.source}, grade {figure.grade}", f"{figure.family}, {figure.backbone}"
        row = (figure.dataset, source, recipe, figure.epoch or "not known", own, f"no: other {why}" if why else "yes")
        groups.setdefault(row, []).append(f"{figure.imbalance}: {figure.accuracy}{_groups(figure)}")
    for (dataset, *rest), accuracies in groups.items():
        yield f"{dataset} {', '.join(accuracies)}", *rest


def _measured(figure: Figure) -> tuple[str, str, str]:
    title = figure.table.replace("[", "(").replace("]", ")")
    return f"[{title}]({posixpath.relpath(figure.page, 'docs')})", figure.accuracy, figure.seeds


def _groups(figure: Published) -> str:
    return f" (many, medium, few: {', '.join(map(str, figure.groups))})" if figure.groups else ""


def _covered(entry: Entry, dataset: str) -> str:
    """The imbalances at which a method can be trained as published."""
    figures = [f for f in entry.method.published if f.dataset == dataset]
    found = {int(f.imbalance) for f in figures if not obstacles(f, entry.method.space())}
    return ", ".join(map(str, sorted(found, reverse=True)))


def _after(entry: Entry) -> str:
    return f"`{entry.method.after}`" if entry.method.after else ""


def _cost(entry: Entry, registry: Registry) -> str:
    return f"{registry.cost(registry.chain(entry.name, {})):.3g}"


def _searched(one: Hyperparameter[Any]) -> str:
    if isinstance(one, Choice):
        return ", ".join(map(_value, one.options)) + ("" if one.searched else " (not searched)")
    assert isinstance(one, Range)
    return f"{_value(one.low)} to {_value(one.high)}{', logarithmic' if one.log else ''}"


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *(tuple(map(_escaped, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _escaped(text: str) -> str:
    """Text whose special characters Markdown leaves alone, except in code and links."""
    parts = re.split(r"(`[^`]*`|\[[^\]]*\]\([^)]*\))", text)
    return "".join(part if i % 2 else re.sub(r"([*_|<\[\]])", r"\\\1", part) for i, part in enumerate(parts))


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(), discover()))
    print(PAGE)


if __name__ == "__main__":
    main()

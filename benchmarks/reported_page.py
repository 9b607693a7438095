"""Writes the generated part of docs/reported.md: ``python -m benchmarks.reported_page``.

Ours are the records committed in ``results/NAME/records``, stale or not: each row is a dated snapshot of its revision.
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.committed import ROOT
from benchmarks.methods_page import table
from ltbench.method.published import Published
from ltbench.method.source import BUILTIN
from ltbench.results.papers import differences, published, verdict
from ltbench.results.record import Protocol, Record
from ltbench.results.statistics import seed_interval
from ltbench.results.store import Store

PAGE = ROOT / "docs" / "reported.md"
MARKER = "<!-- Below this line: python -m benchmarks.reported_page -->\n"
HEAD = ("method", "reported", "source, grade", "its epoch", "ours", "compared")
NAMES = {"cifar10": "CIFAR-10-LT", "cifar100": "CIFAR-100-LT"}
TABLES = [(dataset, factor) for dataset in NAMES for factor in ("100", "50", "10")]


def page(written: str, records: Sequence[Record]) -> str:
    """The page: what is above the marker in ``written``, and a table for each data set and imbalance factor.

    Args:
        records: finished cells of this repository.
    """
    reported = {name: figures for name, figures in published().items() if (BUILTIN / f"{name}.py").is_file()}
    parts = [written.partition(MARKER)[0] + MARKER]
    for dataset, factor in TABLES:
        rows = list(_rows(reported, records, dataset, factor))
        parts.append(f"## {NAMES[dataset]}, imbalance factor {factor}\n\n{table(HEAD, rows)}")
    return "\n".join(parts)


def committed_records() -> list[Record]:
    """The finished cells that are committed with this repository."""
    folders = [folder.parent for folder in sorted((ROOT / "results").glob("*/records"))]
    return [record for folder in folders for record in Store(folder).latest().values() if record.result]


def _rows(
    reported: Mapping[str, Sequence[Published]], records: Sequence[Record], dataset: str, factor: str
) -> Iterator[tuple[str, ...]]:
    for method, figure in ((name, figure) for name, figures in reported.items() for figure in figures):
        if (figure.dataset, figure.imbalance) == (dataset, factor):
            link, source = f"[{method}](methods.md#{method})", f"{figure.source}, {figure.grade}"
            theirs = link, f"{figure.accuracy:g}", source, figure.epoch or "not known"
            ours = [one for one in records if (one.method, one.dataset, one.imbalance) == (method, dataset, factor)]
            if not ours:
                yield *theirs, "not measured", ""
            for row in dict.fromkeys(record.row for record in ours):
                yield *theirs, *_ours(figure, [record for record in ours if record.row == row])


def _ours(figure: Published, seeds: Sequence[Record]) -> tuple[str, str]:
    """Our accuracy over the seeds of one row, of the source's epoch where we have it; what differs, or a verdict."""
    epoch: Protocol = figure.epoch if figure.epoch in seeds[0].finished.protocols else "last"
    scores = [record.finished.protocols[epoch].accuracy for record in seeds]
    mean, n, recipe = statistics.fmean(scores), len(scores), seeds[0].recipe_values
    half = float(seed_interval(statistics.stdev(scores), n)) if n > 1 else math.nan
    how = f"{recipe['backbone']}, {recipe['epochs']} epochs, {epoch}, {n} seed{'s' if n > 1 else ''}"
    other = differences(seeds[0], figure)
    compared = f"no: other {', '.join(other)}" if other else verdict(mean - figure.accuracy, half, n)
    return f"{mean:.1f}{f' ± {half:.1f}' if n > 1 else ''} ({how})", compared


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(), committed_records()))
    print(PAGE)


if __name__ == "__main__":
    main()

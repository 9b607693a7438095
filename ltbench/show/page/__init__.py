"""One self-contained HTML page of a results folder, and its figures and tables as files. Needs no network.

Everything comes from records and logits, except the published accuracies: they are read from the methods' files.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ltbench import __version__
from ltbench.errors import InputError
from ltbench.metrics import Shots
from ltbench.results import diagnostics
from ltbench.results.across_tables import ranks_by_setting, subset_spread
from ltbench.results.classes import class_reports
from ltbench.results.decoupling import decoupling
from ltbench.results.files import write_whole
from ltbench.results.leaderboard import TABLE, leaderboard, load_results
from ltbench.results.papers import MARGIN, published
from ltbench.results.record import Environment, Record, now
from ltbench.results.status import none_to_show, stale_lines
from ltbench.results.store import Store
from ltbench.show.classes import notes_of, page_grids
from ltbench.show.columns import COLUMNS, Column, Row, columns_of, rows_of
from ltbench.show.grid import Grid
from ltbench.show.page.plots import Plot, rank_plots, table_plots, tuning_plots
from ltbench.show.style import style
from ltbench.show.tables import DECOUPLED, Format, decoupling_grids, footnotes, render, shots_note, title
from ltbench.tuning.journal import studies
from ltbench.units import duration

FILES: dict[Format, str] = {"markdown": "leaderboard.md", "csv": "leaderboard.csv", "latex": "leaderboard.tex"}


@dataclass(frozen=True)
class Section:
    """The part of the page about one table.

    Attributes:
        key: its id in the page.
        rows: of the leaderboard.
        records: of each method, by seed.
        papers: rows of ``diagnostics.against_papers``.
        classes: tables about the classes of each finished method.
        class_notes: what a reader must know about them.
        decoupled: tables of features x classifiers, if there are any.
    """

    key: str
    title: str
    notes: list[str]
    rows: list[Row]
    columns: list[Column]
    records: dict[str, list[Record]]
    papers: list[Row]
    classes: dict[str, list[Grid]]
    class_notes: list[str]
    decoupled: list[Grid]
    plots: list[Plot]

    @property
    def overview(self) -> list[Plot]:
        """The plot above the table: accuracy against cost; none where no cell is finished."""
        return [plot for plot in self.plots if plot.name == f"{self.key}-cost"]


def write_report(
    results: Path,
    output: Path,
    ids: Collection[str] | None = None,
    figures: Path | None = None,
    *,
    shots: Shots = "auto",
    methods_dirs: Sequence[Path] = (),
) -> list[Path]:
    """Write the page and, if wanted, its figures (PNG, PDF) and tables (Markdown, CSV, LaTeX).

    Args:
        results: the results folder.
        output: the HTML file.
        ids: of the cells to report; None: all.
        figures: folder for figures and tables; None: none are written.
        shots: groups of classes.
        methods_dirs: folders with method files, besides ``./methods``.

    Returns:
        The files.

    Raises:
        InputError: when there are no results, or a file cannot be written.
    """
    store = Store(results)
    found = load_results(store, ids=ids, shots=shots, methods_dirs=methods_dirs)
    cells = found[found.status != "stale"] if len(found) else found
    if cells.empty:
        raise InputError(none_to_show(store.root, len(found)))
    _check_writable(output, "another file with -o")
    if figures is not None:
        _check_writable(figures / "leaderboard.md", "another folder with --figures")
    report = Report(store, cells, shots, stale_lines(zip(found.method, found.changed, strict=True)))
    write_whole(output, report.html().encode())
    return [output, *([] if figures is None else report.write_figures(figures))]


def _check_writable(file: Path, instead: str) -> None:
    """Raise InputError now, not after all plots are drawn."""
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        write_whole(probe := file.with_name(f".{file.name}.probe"), b"")
        probe.unlink()
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror}); give {instead}") from error


class Report:
    """The content of the page.

    Args:
        store: the results.
        cells: from ``load_results``; not empty, and none of them stale.
        shots: groups of classes.
        warnings: lines on results that are not in the tables.
    """

    def __init__(self, store: Store, cells: pd.DataFrame, shots: Shots = "auto", warnings: Sequence[str] = ()) -> None:
        self.store, self.cells, self.shots, self.warnings = store, cells, shots, warnings
        latest = store.latest()
        self.records = {cell: latest[cell] for cell in cells.id}
        self.studies = studies(store.root)
        self.published = published()
        self.board = leaderboard(cells)
        self.best_on_test = leaderboard(load_results(store, "best-on-test", set(cells.id)))
        tables = [part for _, part in self.board.groupby(TABLE, sort=False, dropna=False)]
        self.sections = [self._section(key, table) for key, table in zip(_keys(tables), tables, strict=True)]
        self.plots = rank_plots(cells)

    def _section(self, key: str, board: pd.DataFrame) -> Section:
        cells = self.cells.merge(board[TABLE].drop_duplicates())
        place = tuple(board[["dataset", "imbalance", "recipe"]].iloc[0])
        tuned = [study for study in self.studies if (study.dataset, study.imbalance, study.recipe) == place]
        records = {
            str(method): [self.records[cell] for cell in of_method.sort_values("seed").id]
            for method, of_method in cells.groupby("method")
        }
        reports = [
            report
            for found in class_reports(cells, self.records, self.store, shots=self.shots).values()
            for report in found
        ]
        return Section(
            key=key,
            title=title(board.iloc[0]),
            notes=_groups(cells, board.shots.iloc[0]),
            rows=rows_of(board),
            columns=columns_of(board, page=True),
            records=records,
            papers=rows_of(
                diagnostics.against_papers(
                    {"last": board, "best-on-test": self.best_on_test}, cells, self.records, self.published
                )
            ),
            classes={report.method: page_grids(report) for report in reports},
            class_notes=notes_of(reports),
            decoupled=decoupling_grids(decoupling(cells, board)),
            plots=table_plots(key, board, cells, self.records, self.store) + tuning_plots(key, tuned),
        )

    def environments(self) -> list[tuple[Environment, int]]:
        """Each environment and its number of finished cells, the most frequent first."""
        results = [record.result for record in self.records.values() if record.result]
        return Counter(result.environment for result in results).most_common()

    def html(self) -> str:
        """The page."""
        import jinja2

        pages = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        pages.filters["duration"] = duration
        pages.tests["missing"] = pd.isna
        finished = int((self.cells.status == "done").sum())
        return pages.get_template("page.html").render(
            report=self,
            results=self.store.root.resolve().name,
            finished=finished,
            failed=len(self.cells) - finished,
            suites=sorted({record.suite for record in self.records.values()}),
            notes=[*self.warnings, *footnotes(self.board, "last")],
            accuracy=COLUMNS[0],
            margin=MARGIN,
            decoupled_note=DECOUPLED,
            version=__version__,
            created=now()[:19].replace("T", " "),
        )

    def write_figures(self, folder: Path) -> list[Path]:
        """Write all figures as PNG and PDF and the leaderboard as Markdown, CSV and LaTeX; returns the files."""
        files: list[Path] = []
        for plot in [plot for section in self.sections for plot in section.plots] + self.plots:
            for suffix, metadata in ((".png", {}), (".pdf", {"CreationDate": None})):
                files.append(folder / (plot.name + suffix))
                with style():
                    plot.figure.savefig(files[-1], dpi=200, metadata=metadata)
        for form, name in FILES.items():
            files.append(folder / name)
            ranks, spread = ranks_by_setting(self.cells), subset_spread(self.cells)
            text = render(self.board, form, "last", None, ranks, spread, decoupling(self.cells, self.board))
            write_whole(files[-1], f"{text}\n".encode())
        return files


def _keys(tables: Sequence[pd.DataFrame]) -> list[str]:
    """A name for each table that is valid in file names and links: ``digits-100``, ``digits-100-2``."""
    used: Counter[str] = Counter()
    keys = []
    for table in tables:
        key = re.sub(r"[^a-z0-9]+", "-", f"{table.dataset.iloc[0]}-{table.imbalance.iloc[0]}".lower()).strip("-")
        used[key] += 1
        keys.append(key if used[key] == 1 else f"{key}-{used[key]}")
    return keys


def _groups(cells: pd.DataFrame, shots: str) -> list[str]:
    """A note on the number of many-, medium- and few-shot classes; none where no cell is finished."""
    done = cells[cells.status == "done"]
    if done.empty:
        return []
    groups = [f"{int(done[f'{name}_classes'].iloc[0])} {name}" for name in ("many", "medium", "few")]
    return [f"Classes: {', '.join(groups)} ({shots_note(shots)})."]

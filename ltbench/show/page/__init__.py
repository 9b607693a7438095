"""One self-contained HTML page of a results folder, and its figures and tables as files. Needs no network.

Records and logits are all it reads; published figures come from the methods' files, which is the one thing that imports
torch.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure

from ltbench import __version__
from ltbench.errors import InputError
from ltbench.results import diagnostics
from ltbench.results.across_tables import ranks_by_setting, subset_spread
from ltbench.results.leaderboard import TABLE, leaderboard, load_results
from ltbench.results.statistics import LEVEL
from ltbench.results.store import Record, Store, now, write_whole
from ltbench.show import figures
from ltbench.show.page.svg import inline
from ltbench.show.style import style
from ltbench.show.tables import Format, duration, footnotes, render, shots_note, title
from ltbench.tuning.study import Study, studies

if TYPE_CHECKING:
    from ltbench.method.contract import Figure as Published

FILES: dict[Format, str] = {"markdown": "leaderboard.md", "csv": "leaderboard.csv", "latex": "leaderboard.tex"}


@dataclass(frozen=True)
class Plot:
    """A figure with what stands around it; ``name`` is unique in the report."""

    name: str
    heading: str
    caption: str
    figure: Figure

    @property
    def width(self) -> int:
        """Of the figure at its natural size, in CSS pixels."""
        return round(96 * float(self.figure.get_size_inches()[0]))

    @property
    def svg(self) -> str:
        """The figure as an ``<svg>`` element."""
        return inline(self.figure, self.name, self.heading, self.caption)


@dataclass(frozen=True)
class Column:
    """A column of a table in the page.

    Attributes:
        key: column of the frame; its values are what the browser sorts by.
        heading, about: what stands above it, and what that means.
        text: how a row prints it.
    """

    key: str
    heading: str
    about: str
    text: Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True)
class Section:
    """What the page shows of one table."""

    key: str
    title: str
    notes: list[str]
    rows: list[dict[str, Any]]
    columns: list[Column]
    details: dict[str, list[dict[str, Any]]]
    papers: list[dict[str, Any]]
    plots: list[Plot]


def _keys(parts: Sequence[pd.DataFrame]) -> list[str]:
    """A name for each table that may stand in a file name and in a link: ``digits-100``, ``digits-100-2``."""
    used: Counter[str] = Counter()
    keys = []
    for part in parts:
        key = re.sub(r"[^a-z0-9]+", "-", f"{part.dataset.iloc[0]}-{part.imbalance.iloc[0]}".lower()).strip("-")
        used[key] += 1
        keys.append(key if used[key] == 1 else f"{key}-{used[key]}")
    return keys


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _number(key: str, digits: int = 1) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: "–" if pd.isna(row[key]) else f"{row[key]:.{digits}f}"


def _accuracy(row: Mapping[str, Any]) -> str:
    around = "" if pd.isna(row["interval"]) else f" ± {row['interval']:.1f}"
    return f"{row['balanced_accuracy']:.1f}{around}" + ("†" if around and row["interval_from"] == "images" else "")


def _difference(row: Mapping[str, Any]) -> str:
    if pd.isna(row["difference_to_ce"]):
        return "–"
    mark = "*" if row["p_to_ce"] < 1 - LEVEL else ""
    return f"{row['difference_to_ce']:+.1f} ± {row['difference_to_ce_interval']:.1f}{mark}"


def _probability(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: "–" if pd.isna(row[key]) else "< 0.001" if row[key] < 0.001 else f"{row[key]:.3f}"


def _seeds(row: Mapping[str, Any]) -> str:
    return f"{row['seeds']} of {row['seeds'] + row['failed']}" if row["failed"] else str(row["seeds"])


def _time(row: Mapping[str, Any]) -> str:
    return "–" if pd.isna(row["train_seconds"]) else duration(row["train_seconds"])


COLUMNS = (
    Column(
        "balanced_accuracy",
        "bal. accuracy",
        "mean recall over classes in %, ± 95 % interval († over test images of one seed only)",
        _accuracy,
    ),
    Column(
        "difference_to_ce",
        "vs ce",
        "points more than ce (where tuned, than ce tuned by as many trials), ± 95 % interval; * where it leaves out 0",
        _difference,
    ),
    Column("p_to_ce", "p (ce)", "test against ce, adjusted for all methods of the table", _probability("p_to_ce")),
    Column(
        "p_to_best", "p (best)", "test against the best, adjusted for all pairs of the table", _probability("p_to_best")
    ),
    Column("many", "many", "accuracy on many-shot classes in %", _number("many")),
    Column("medium", "medium", "accuracy on medium-shot classes in %", _number("medium")),
    Column("few", "few", "accuracy on few-shot classes in %", _number("few")),
    Column("worst_class", "worst", "recall of the worst class in %", _number("worst_class")),
    Column("harmonic_mean", "harmonic", "harmonic mean of the recalls in %", _number("harmonic_mean")),
    Column(
        "relative_accuracy", "relative", "accuracy relative to balanced training in %", _number("relative_accuracy")
    ),
    Column("macro_f1", "macro F1", "mean F1 over classes in %", _number("macro_f1")),
    Column("ece", "ECE", "expected calibration error in %, 15 bins", _number("ece")),
    Column("nll", "NLL", "negative log-likelihood in nats", _number("nll", 2)),
    Column("brier", "Brier", "Brier score in %", _number("brier")),
    Column("train_seconds", "train", "time to train one seed", _time),
    Column("relative_cost", "cost", "declared passes relative to plain training", _number("relative_cost")),
    Column("seeds", "seeds", "finished seeds", _seeds),
    Column("paper", "paper", "published accuracy under the same recipe", _number("paper")),
)


def write_report(
    results: Path, output: Path, cells: Collection[str] | None = None, figures: Path | None = None
) -> list[Path]:
    """Write the page, and where wanted its figures (PNG, PDF) and tables (Markdown, CSV, LaTeX).

    Args:
        results: the folder.
        output: the HTML file.
        cells: ids of the cells that are wanted; None: all.
        figures: folder for figures and tables; None: none.

    Returns:
        The files.

    Raises:
        InputError: where there is nothing to report, or a file cannot be written.
    """
    frame = load_results(results, cells=cells)
    if frame.empty:
        raise InputError(f"no results in {results} to report; ltbench run makes some")
    _writable(output, "another file with -o")
    if figures is not None:
        _writable(figures / "leaderboard.md", "another folder with --figures")
    report = Report(Store(results), frame)
    write_whole(output, report.html().encode())
    return [output, *([] if figures is None else report.write_figures(figures))]


def _writable(file: Path, instead: str) -> None:
    """Find out before anything is drawn."""
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        write_whole(probe := file.with_name(f".{file.name}.probe"), b"")
        probe.unlink()
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror}); give {instead}") from error


class Report:
    """What is reported, ready to be written.

    Args:
        store: the results.
        cells: from ``load_results``; not empty.
    """

    def __init__(self, store: Store, cells: pd.DataFrame) -> None:
        self.store, self.cells = store, cells
        self.studies = studies(store.root)
        wanted = set(cells.id)
        self.records = {cell: record for cell, record in store.latest().items() if cell in wanted}
        self.board = leaderboard(cells)
        parts = [part for _, part in self.board.groupby(TABLE, sort=False, dropna=False)]
        self.published = published()
        self.sections = [self._section(key, part) for key, part in zip(_keys(parts), parts, strict=True)]
        self.plots = rank_plots(cells)

    def _section(self, key: str, part: pd.DataFrame) -> Section:
        cells = self.cells.merge(part[TABLE].drop_duplicates())
        place = tuple(part[["dataset", "imbalance", "recipe"]].iloc[0])
        tuned = [study for study in self.studies if (study.dataset, study.imbalance, study.recipe) == place]
        first = cells[cells.status == "done"].head(1)
        names = ("many", "medium", "few")
        groups = [f"{int(first[f'{name}_classes'].iloc[0])} {name}" for name in names if len(first)]
        notes = [f"Classes: {', '.join(groups)} ({shots_note(part.shots.iloc[0])})."] if groups else []
        return Section(
            key=key,
            title=title(part.iloc[0]),
            notes=notes,
            rows=_rows(part),
            columns=[column for column in COLUMNS if column.key in part and part[column.key].notna().any()],
            details={str(method): self._details(of_method) for method, of_method in cells.groupby("method")},
            papers=_rows(diagnostics.against_papers(part, cells, self.records, self.published)),
            plots=(table_plots(key, part, cells, self.records, self.store) if len(first) else [])
            + tuning_plots(key, tuned),
        )

    def _details(self, cells: pd.DataFrame) -> list[dict[str, Any]]:
        keys = ("id", "seed", "status", "reason", "balanced_accuracy", "epoch", "train_seconds", "tuned_values")
        rows = _rows(cells.sort_values("seed")[list(keys)])
        for row in rows:
            record = self.records[row["id"]]
            row |= {"command": record["command"], "environment": record.get("environment", {})}
        return rows

    def environments(self) -> list[dict[str, Any]]:
        """Each environment that results come from, with the number of its cells, the most used first."""
        found: dict[str, dict[str, Any]] = {}
        for record in self.records.values():
            if environment := record.get("environment"):
                known = found.setdefault(str(environment), {"cells": 0} | environment)
                known["cells"] += 1
        return sorted(found.values(), key=lambda environment: -environment["cells"])

    def html(self) -> str:
        """The page."""
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        pages = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
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
            suites=sorted({str(record["suite"]) for record in self.records.values() if record.get("suite")}),
            notes=footnotes(self.board, "last"),
            version=__version__,
            made=now()[:19].replace("T", " "),
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
            text = render(self.board, form, "last", None, ranks_by_setting(self.cells), subset_spread(self.cells))
            write_whole(files[-1], f"{text}\n".encode())
        return files


def table_plots(
    key: str, board: pd.DataFrame, cells: pd.DataFrame, records: Mapping[str, Record], store: Store
) -> list[Plot]:
    """The figures of one table.

    Args:
        key: begins their names.
        board: the table's rows of the leaderboard, at least one of them finished.
        cells: the table's rows of ``load_results``.
    """
    bias = diagnostics.best_on_test_bias(cells, records)
    bins, missing = diagnostics.reliability(cells, store)
    lines = "Coloured are the four best and ce, grey the others (their names show under the pointer)."
    marks = "Blue: best (★) or tied with it; orange: ce; grey: others."
    drawn: list[tuple[str, str, str, Figure]] = [
        (
            "accuracy",
            "Balanced accuracy",
            f"{marks} A hollow point has one seed, so its interval knows only the test images.",
            figures.accuracy(board),
        ),
        ("shots", "Many, medium and few", f"{marks} Sorted by balanced accuracy.", figures.shot_bars(board)),
        ("head-tail", "Head against tail", f"{marks} Up is better for rare classes.", figures.head_tail(board)),
        (
            "cost",
            "Accuracy against training cost",
            f"{marks} The dotted line joins the methods that nothing cheaper beats. {_machines(cells, records)}",
            figures.cost(board),
        ),
        (
            "classes",
            "Accuracy of each class against its size",
            lines,
            figures.per_class(diagnostics.per_class(cells, records), board),
        ),
        (
            "curves",
            "Training curves",
            f"{lines} Means over seeds; losses of different methods are not comparable. A stage shared with another "
            "method is shown there; epoch 0 is a post-hoc step.",
            figures.curves(diagnostics.curves(cells, records), board),
        ),
    ]
    if len(bins):
        unread = f" Cells without readable logits, left out: {', '.join(missing)}." if missing else ""
        caption = (
            "Accuracy against confidence in 15 bins, all seeds together; on the diagonal a method is as sure as it is "
            f"right, below it too sure. {marks}{unread}"
        )
        drawn.append(("reliability", "Reliability", caption, figures.reliability(bins, board)))
    heading = "What choosing the epoch on the test set would add"
    drawn.append(("best-on-test", heading, _bias_caption(bias), figures.best_on_test_bias(bias)))
    return [Plot(f"{key}-{name}", heading, caption, figure) for name, heading, caption, figure in drawn]


def rank_plots(cells: pd.DataFrame) -> list[Plot]:
    """Critical-difference diagrams, one for each setting under which there is more than one table to rank over.

    Args:
        cells: from ``load_results``.
    """
    drawn = []
    for number, (setting, ranks) in enumerate(ranks_by_setting(cells).items(), 1):
        if ranks.tables < 2 or len(ranks.frame) < 2:
            continue
        missing = f" Not in all tables, so left out: {', '.join(ranks.left_out)}." if ranks.left_out else ""
        caption = (
            f"Average rank of balanced accuracy over {ranks.tables} tables ({setting}), 1 being the best; a bar joins "
            f"methods that are not distinguishable (Nemenyi, 5 % over all pairs; Demsar, JMLR 2006).{missing}"
        )
        figure = figures.critical_difference(ranks)
        drawn.append(Plot(f"ranks-{number}", f"Ranks over tables, {setting}", caption, figure))
    return drawn


def tuning_plots(key: str, found: Sequence[Study]) -> list[Plot]:
    """What tuning found at one table; nothing where no trial is complete.

    Args:
        key: begins their names.
        found: the table's studies.
    """
    done = [study for study in found if study.best]
    if not done:
        return []
    budgets = ", ".join(sorted({str(study.ended) for study in done}, key=int))
    caption = (
        f"{len(done)} methods, {budgets} trials each. The best value on validation images to be expected of so many "
        "trials (Dodge et al., EMNLP 2019): a method that leads everywhere wins by merit, one that leads at the right "
        "only by budget. Coloured are the four best and ce."
    )
    drawn = [Plot(f"{key}-tuning", "Tuning", caption, figures.expected_best(done))]
    shares = {study.method: study.importances() for study in done}
    if any(shares.values()):
        caption = "Share of each hyper-parameter in what decides about good validation values (functional ANOVA)."
        figure = figures.importances({method: found for method, found in shares.items() if found})
        drawn.append(Plot(f"{key}-importances", "What mattered in tuning", caption, figure))
    return drawn


def _machines(cells: pd.DataFrame, records: Mapping[str, Record]) -> str:
    environments = [records[cell]["environment"] for cell in cells[cells.status == "done"].id]
    names = sorted({f"{e['device_name']} ({e['threads']} threads)" for e in environments})
    return f"Trained on: {'; '.join(names)}."


def _bias_caption(bias: pd.DataFrame) -> str:
    chosen = bias[bias.evaluations > 1]
    if chosen.empty:
        return "Every method was evaluated once, at its end, so there is nothing to choose from and the bias is 0."
    means = chosen.groupby("method").bias.mean()
    return (
        f"Best epoch on test less last epoch of the same run. Over the {len(means)} methods that were evaluated more "
        f"than once the mean is {means.mean():.1f} points, the largest {means.max():.1f} ({means.idxmax()}); "
        "it grows with the number of evaluations. Bars: means over seeds; points: seeds."
    )


def published() -> "dict[str, Sequence[Published]]":
    """The literature's figures of every method that can be found."""
    from ltbench.method.registry import discover

    return {name: entry.method.published for name, entry in discover().items()}

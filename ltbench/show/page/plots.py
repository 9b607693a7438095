"""The plots of the page, with their headings and captions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from ltbench.results import diagnostics
from ltbench.results.across_tables import ranks_by_setting
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.show import figures
from ltbench.show.page.svg import inline
from ltbench.show.tables import excluded_note
from ltbench.tuning.study import Study

LINES = "In colour: the four best methods and ce; grey: the others (point at a line to see its name)."
MARKS = "Blue: the best method (★) and those not significantly different from it; orange: ce; grey: the others."


@dataclass(frozen=True)
class Plot:
    """A figure with its texts.

    Attributes:
        name: unique in the report; its id in the page, and the name of its files.
    """

    name: str
    heading: str
    caption: str
    figure: Figure

    @property
    def width(self) -> int:
        """Natural width of the figure in CSS pixels."""
        return round(96 * float(self.figure.get_size_inches()[0]))

    @property
    def svg(self) -> str:
        """The figure as an ``<svg>`` element."""
        return inline(self.figure, self.name, self.heading, self.caption)


def table_plots(
    key: str, board: pd.DataFrame, cells: pd.DataFrame, records: Mapping[str, Record], store: Store
) -> list[Plot]:
    """The plots of one table; none where no cell is finished.

    Args:
        key: first part of their names.
        board: the table's rows of the leaderboard.
        cells: the table's rows of ``load_results``.
    """
    if not board.seeds.any():
        return []
    return [
        *_board_plots(key, board, _machines(cells, records)),
        *_training_plots(key, board, cells, records),
        *_reliability_plot(key, board, cells, store),
        *_bias_plot(key, cells, records),
    ]


def _board_plots(key: str, board: pd.DataFrame, machines: str) -> list[Plot]:
    return [
        Plot(
            f"{key}-accuracy",
            "Balanced accuracy",
            f"{MARKS} Hollow points: one seed, with an interval over the test images only.",
            figures.accuracy(board),
        ),
        Plot(
            f"{key}-shots",
            "Many, medium and few",
            f"{MARKS} Sorted by balanced accuracy.",
            figures.shot_bars(board),
        ),
        Plot(
            f"{key}-head-tail",
            "Head against tail",
            f"{MARKS} Higher is better for rare classes, further right for frequent classes.",
            figures.head_tail(board),
        ),
        Plot(
            f"{key}-cost",
            "Accuracy against training cost",
            f"{MARKS} The dotted line joins the methods that no cheaper method beats. {machines}",
            figures.cost(board),
        ),
    ]


def _training_plots(key: str, board: pd.DataFrame, cells: pd.DataFrame, records: Mapping[str, Record]) -> list[Plot]:
    return [
        Plot(
            f"{key}-classes",
            "Accuracy of each class against its size",
            LINES,
            figures.per_class(diagnostics.per_class(cells, records), board),
        ),
        Plot(
            f"{key}-curves",
            "Training curves",
            f"{LINES} Means over seeds; losses of different methods are not comparable. Stages that a "
            "method reuses from another one are in the other one's curve. Epoch 0 is a post-hoc step.",
            figures.curves(diagnostics.curves(cells, records), board),
        ),
    ]


def _reliability_plot(key: str, board: pd.DataFrame, cells: pd.DataFrame, store: Store) -> list[Plot]:
    bins, missing = diagnostics.reliability(cells, store)
    if bins.empty:
        return []
    caption = (
        "Accuracy against confidence in 15 bins, all seeds together, every class with the same weight. On the "
        f"diagonal, confidence equals accuracy; below the diagonal, the method is overconfident. {MARKS}"
    )
    if missing:
        caption += f" Cells without stored logits are excluded: {', '.join(missing)}."
    return [Plot(f"{key}-reliability", "Reliability", caption, figures.reliability(bins, board))]


def _bias_plot(key: str, cells: pd.DataFrame, records: Mapping[str, Record]) -> list[Plot]:
    bias = diagnostics.best_on_test_bias(cells, records)
    if bias.empty:
        return []
    chosen = bias[bias.evaluations > 1]
    if chosen.empty:
        caption = "Every method was evaluated once, after its last epoch, so there is no choice and the bias is 0."
    else:
        means = chosen.groupby("method").bias.mean()
        caption = (
            f"Best epoch on the test set, chosen among {_number_of_evaluations(chosen)}, minus last epoch of the same "
            f"run. For the {len(means)} methods that were evaluated more than once, the mean is {means.mean():.1f} "
            f"points and the largest {means.max():.1f} ({means.idxmax()}). The bias grows with the number of "
            "evaluations; papers choose among all epochs (recipe.evaluate_every=1). Bars: means over seeds; points: "
            "seeds."
        )
    heading = "Bias of choosing the epoch on the test set"
    return [Plot(f"{key}-best-on-test", heading, caption, figures.best_on_test_bias(bias))]


def _number_of_evaluations(bias: pd.DataFrame) -> str:
    """``2 evaluations``, or ``2 to 20 evaluations`` where methods differ."""
    low, high = bias.evaluations.min(), bias.evaluations.max()
    return f"{low} evaluations" if low == high else f"{low} to {high} evaluations"


def rank_plots(cells: pd.DataFrame) -> list[Plot]:
    """Critical-difference diagrams, one for each setting with several tables.

    Args:
        cells: from ``load_results``.
    """
    plots = []
    for number, (setting, ranks) in enumerate(ranks_by_setting(cells).items(), 1):
        if not ranks.tells:
            continue
        caption = (
            f"Average rank of balanced accuracy over {ranks.datasets} data sets ({setting}); rank 1 is the best. A bar "
            "joins methods that do not differ significantly (Nemenyi, 5 % over all pairs; Demsar, JMLR 2006)."
        )
        figure = figures.critical_difference(ranks)
        plots.append(
            Plot(f"ranks-{number}", f"Ranks over data sets, {setting}", caption + excluded_note(ranks), figure)
        )
    return plots


def tuning_plots(key: str, studies: Sequence[Study]) -> list[Plot]:
    """The results of tuning for one table; none where no trial is complete.

    Args:
        key: first part of their names.
        studies: of the table.
    """
    done = [study for study in studies if study.best]
    if not done:
        return []
    budgets = ", ".join(sorted({str(study.ended) for study in done}, key=int))
    caption = (
        f"{len(done)} methods, {budgets} trials each. Expected best value on validation images after a number of "
        "trials (Dodge et al., EMNLP 2019): a method that leads everywhere is better; a method that leads only at the "
        "right needs a larger tuning budget. In colour: the four best methods and ce."
    )
    plots = [Plot(f"{key}-tuning", "Tuning", caption, figures.expected_best(done))]
    shares = {study.method: study.importances() for study in done}
    if known := {method: found for method, found in shares.items() if found}:
        caption = "Importance of each hyper-parameter for the validation value (functional ANOVA); together 1."
        plots.append(Plot(f"{key}-importances", "Important hyper-parameters", caption, figures.importances(known)))
    return plots


def _machines(cells: pd.DataFrame, records: Mapping[str, Record]) -> str:
    environments = [records[cell].finished.environment for cell in cells[cells.status == "done"].id]
    return f"Trained on: {'; '.join(sorted({f'{e.device_name} ({e.threads} CPU threads)' for e in environments}))}."

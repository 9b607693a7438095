"""The leaderboard as text: for a terminal, as Markdown, LaTeX, CSV or JSON."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from rich.console import Console
from rich.table import Table

from ltbench.errors import printable
from ltbench.plan.cell import AS_PUBLISHED, BASELINE
from ltbench.results.across_tables import FACTORS, Ranks
from ltbench.results.leaderboard import TABLE
from ltbench.results.record import JOINT, Protocol
from ltbench.results.statistics import LEVEL
from ltbench.show.columns import COLUMNS, Column, best_two, chosen, columns_of, dropping_order, rows_of
from ltbench.show.grid import Grid
from ltbench.show.latex import latex

Format = Literal["table", "markdown", "csv", "json", "latex"]
SHIFTS = [("forward", n) for n in reversed(FACTORS)] + [("backward", n) for n in FACTORS]
MARKS = "★ best, ≈ not significantly different from the best (5 % over all pairs)."
COMPARED = (
    "Compared over seeds by a mixed model: ≈ by Tukey's test, vs ce by Benjamini and Hochberg's, so that of the * in a "
    "table at most 5 % are expected to be false."
)
ONE_SEED = "One seed: not compared; its interval is over the test images alone and excludes seed-to-seed variation (†)."
AS_PUBLISHED_ROWS = (
    "As published: each row has the hyper-parameters and the recipe of the published accuracy beside it, so rows "
    "differ in more than the method. They are neither ranked nor compared with ce."
)
ENOUGH_SEEDS = 5
"""Below so many seeds, comparisons are provisional."""
PROVISIONAL = f"PROVISIONAL: fewer than {ENOUGH_SEEDS} seeds."
TUNED = (
    "(tuned N): hyper-parameters, learning rate and weight decay were chosen in N trials on validation images, not on "
    "test images; then the method was trained again. Its vs ce is the difference to ce (tuned N)."
)
SPREAD = (
    "Spread of balanced accuracy over subset seeds: standard deviations in points. sd over seeds: of training seeds on "
    "one subset, with 95 % interval; sd over subsets: of the effect of the subset on all training seeds alike (p value "
    "of no effect); sd of both: of runs that draw both seeds."
)
DECOUPLED = (
    "Features x classifiers: rows are the methods whose features were used, columns the classifiers on them (joint: "
    "the method's own). Differences are those to the same classifier on the features of ce, in points, by the mixed "
    "model of the table; * at a false discovery rate of 5 % among the features of one classifier: the interval "
    "excludes 0."
)
SHIFTED = (
    "Accuracy in % on a long-tailed test set with the given n_max / n_min. fwd: classes frequent in training are "
    "frequent in the test set; bwd: they are rare. Means over seeds of recalls weighted by class shares, which is the "
    "expectation over all such test sets."
)


def title(row: pd.Series) -> str:
    """The title of a row's table."""
    recipe = row.recipe if row.recipe.startswith(AS_PUBLISHED) else f"recipe {row.recipe}"
    parts = [str(row.dataset), f"imbalance {row.imbalance}", recipe]
    if row.get("subset_seed"):
        parts.append(f"subset seed {row.subset_seed}")
    if row.holdout:
        parts.append(f"{row.holdout} images per class held out")
    return " · ".join(parts)


def footnotes(board: pd.DataFrame, protocol: Protocol) -> list[str]:
    """Everything that a reader must know about the tables: definitions, tests, protocol, failures."""
    defined = [f"{column.heading}: {column.about}." for column in columns_of(board) if column.footnote]
    notes = [" ".join(defined)]
    notes += [note] if (note := comparison_note(board)) else []
    notes += [f"many / medium / few: {shots_note(shots)}." for shots in dict.fromkeys(board.shots)]
    notes += [rounding_note(board)] if board.seeds.any() else []
    if protocol == "best-on-test":
        notes.append("OPTIMISTIC: the epoch was chosen on the test set, as in many papers. Not a ranking.")
    if protocol == "val":
        notes.append("The epoch was chosen on the validation split.")
    notes += as_published_notes(board[board.trained_under.notna()])
    papers = board.assign(source=board.paper_source.fillna(board.published_source)).dropna(subset="source")
    if len(papers):
        sources = dict.fromkeys(f"{row.method}: {row.source}" for row in papers.itertuples())
        notes.append(f"Published accuracies are from {'; '.join(sources)}.")
    notes += [TUNED] if (board.trials > 0).any() else []
    lost = board[board.failed > 0]
    return notes + [
        f"FAILED: {row.method} ({row.dataset} / {row.imbalance}): {row.reason}" for row in lost.itertuples()
    ]


def as_published_notes(rows: pd.DataFrame) -> list[str]:
    """What rows that were trained as published show, and the recipe of each; none without such rows."""
    if rows.empty:
        return []
    recipes = [f"{recipe}: {', '.join(dict.fromkeys(part.method))}" for recipe, part in rows.groupby("trained_under")]
    return [AS_PUBLISHED_ROWS, f"Recipes: {'; '.join(recipes)}."]


def rounding_note(board: pd.DataFrame) -> str:
    """Where the results were trained; of several environments, that their results are averaged all the same."""
    found = dict.fromkeys(part for given in board.rounding.dropna() for part in str(given).split(" | "))
    if len(found) == 1:
        return f"Trained on: {next(iter(found))}."
    return f"Averaged over {len(found)} environments, in which numbers are rounded differently: {'; '.join(found)}."


def comparison_note(board: pd.DataFrame) -> str:
    """How the rows are compared, which are not, and whether there are enough seeds."""
    compared = board[board.p_to_best.notna()]
    parts = [MARKS, COMPARED] if len(compared) else []
    parts += [ONE_SEED] if (board.compared_over == "one seed").any() else []
    parts += [PROVISIONAL] if (compared.seeds < ENOUGH_SEEDS).any() else []
    return " ".join(parts)


def shots_note(shots: str) -> str:
    """The definition of many, medium and few."""
    if shots == "terciles":
        return "terciles of the classes by size"
    if shots == "auto":
        return "> 100, 20 to 100, < 20 training images, or terciles of the classes where one would be empty"
    low, high = shots.strip("()[]").split(",")
    return f"> {int(high)}, {int(low)} to {int(high)}, < {int(low)} training images"


def render(
    board: pd.DataFrame,
    form: Format,
    protocol: Protocol,
    width: int | None = None,
    ranks: Mapping[str, Ranks] | None = None,
    spread: pd.DataFrame | None = None,
    decoupled: pd.DataFrame | None = None,
    columns: Sequence[str] | None = None,
) -> str:
    """The leaderboard as text.

    Args:
        board: from ``ltbench.leaderboard``.
        form: output format; CSV and JSON have all columns of the board, and nothing else.
        protocol: of the board.
        width: of the terminal in columns; None: unlimited.
        ranks: from ``ranks_by_setting``; shown under settings with several tables.
        spread: from ``subset_spread``.
        decoupled: from ``decoupling``.
        columns: names of the columns to show; None: all, and in LaTeX the few of a paper.

    Raises:
        InputError: for an unknown column.
    """
    wanted = None if columns is None else chosen(columns)
    if form in ("csv", "json"):
        keys = [*TABLE, "method", *(column.key for column in wanted)] if wanted is not None else list(board)
        return _data(board[keys].assign(protocol=protocol), form)
    notes = footnotes(board, protocol)
    notes += [ranks_note(name, found) for name, found in (ranks or {}).items() if found.tables > 1]
    shown = wanted if wanted is not None else columns_of(board)
    if form == "latex":
        shown = shown if wanted is not None else [column for column in shown if column.paper]
        notes = [note.replace(MARKS, "").strip() for note in notes]
    grids = [_board_grid(part, shown, form == "latex") for _, part in board.groupby(TABLE, sort=False, dropna=False)]
    if spread is not None and len(spread):
        keys = [name for name in TABLE if name != "subset_seed"]
        grids += [_spread_grid(part) for _, part in spread.groupby(keys, sort=False)]
        notes.append(SPREAD)
    if decoupled is not None and len(decoupled):
        grids += decoupling_grids(decoupled)
        notes.append(DECOUPLED)
    return text_of(grids, notes, form, width)


def render_shifted(shifted: pd.DataFrame, board: pd.DataFrame, form: Format, width: int | None = None) -> str:
    """Accuracy under shifted test priors as text, in the order of the leaderboard.

    Args:
        shifted: from ``shifted_priors``.
        board: of the same cells.
        form: output format.
        width: of the terminal in columns; None: unlimited.
    """
    if form in ("csv", "json"):
        return _data(shifted, form)
    accuracy = shifted.set_index([*TABLE, "method", "direction", "factor"]).accuracy
    head = [f"{'fwd' if way == 'forward' else 'bwd'} {n}" for way, n in SHIFTS]
    head.insert(len(FACTORS), "uniform")
    grids = []
    for key, part in board[board.seeds > 0].groupby(TABLE, sort=False, dropna=False):
        rows = []
        for method, uniform in zip(part.method, part.balanced_accuracy, strict=True):
            numbers = [accuracy[(*key, method, *shift)] for shift in SHIFTS]
            numbers.insert(len(FACTORS), uniform)
            rows.append([method, *(f"{number:.1f}" for number in numbers)])
        grids.append(Grid(title(part.iloc[0]), ["method", *head], rows))
    return text_of(grids, [SHIFTED], form, width)


def ranks_note(name: str, ranks: Ranks) -> str:
    """Average ranks as a paragraph, or why they say nothing; ``name`` is that of their setting."""
    blocks = f"{ranks.datasets} data set" + ("s" if ranks.datasets > 1 else "")
    if not ranks.tells:
        return (
            f"No average ranks ({name}): {ranks.tables} tables of {blocks} are too few. Imbalance factors of one data "
            f"set are not independent, and over {blocks} no difference of ranks would be significant."
        )
    order = ", ".join(f"{method} {rank:.1f}" for method, rank in ranks.frame.average_rank.items())
    return (
        f"Average rank over {blocks} ({name}): {order}. Friedman p = {ranks.friedman_p:.2g}; ranks less than "
        f"{ranks.critical_difference:.1f} apart do not differ significantly (Nemenyi, 5 % over all pairs)."
    ) + excluded_note(ranks)


def excluded_note(ranks: Ranks) -> str:
    """A sentence that names the methods without a rank; empty where there are none."""
    return f" Excluded, because not in all tables: {', '.join(ranks.excluded)}." if ranks.excluded else ""


def _board_grid(part: pd.DataFrame, columns: Sequence[Column], paper: bool = False) -> Grid:
    """The rows of a table; for a ``paper``, the values of each column are marked instead of the best method."""
    rows = rows_of(part)
    texts = [[row["method"], *(column.text(row) for column in columns)] for row in rows]
    head = ["method", *(column.heading for column in columns)]
    if paper:
        two = [{}, *(best_two(column, rows) for column in columns)]
        marks = [[of.get(text.split(" ± ")[0], "") for of, text in zip(two, line, strict=True)] for line in texts]
        return Grid(title(part.iloc[0]), head, texts, marks=marks)
    symbols = ["★" if row["best"] else "≈" if row["tied"] else "" for row in rows]
    styles = ["bold" if row["best"] else "dim" if not row["seeds"] else None for row in rows]
    lines = [[symbol, *line] for symbol, line in zip(symbols, texts, strict=True)]
    return Grid(title(part.iloc[0]), ["", *head], lines, left=2, styles=styles)


def _spread_grid(part: pd.DataFrame) -> Grid:
    def text(row: Any) -> list[str]:
        numbers = [str(row.subset_seeds), str(row.seeds), f"{row.balanced_accuracy:.1f}"]
        if row.seeds == 1:
            return [row.method, *numbers, "–", "–", "–", f"{row.sd_both:.2f}"]
        seeds = f"{row.sd_seeds:.2f} ({row.sd_seeds_low:.2f} to {row.sd_seeds_high:.2f})"
        return [row.method, *numbers, seeds, f"{row.sd_subsets:.2f}", f"{row.p_subsets:.2g}", f"{row.sd_both:.2f}"]

    head = ["method", "subsets", "seeds", "bal. accuracy", "sd over seeds", "sd over subsets", "p", "sd of both"]
    rows = [text(row) for row in part.sort_values("balanced_accuracy", ascending=False).itertuples()]
    return Grid(f"{title(part.iloc[0])} · spread over subset seeds", head, rows)


def decoupling_grids(decoupled: pd.DataFrame) -> list[Grid]:
    """Features x classifiers: balanced accuracy, few-shot accuracy, and differences to the features of ``ce``.

    Args:
        decoupled: from ``decoupling``.
    """

    def accuracy(row: Any) -> str:
        return COLUMNS[0].text(row._asdict())

    def few(row: Any) -> str:
        return "–" if pd.isna(row.few) else f"{row.few:.1f}"

    def difference(row: Any) -> str:
        mark = "*" if row.p < 1 - LEVEL else ""
        return "–" if pd.isna(row.p) else f"{row.difference:+.1f} ± {row.difference_interval:.1f}{mark}"

    kinds = {
        "bal. accuracy": accuracy,
        "few-shot accuracy": few,
        f"difference to the features of {BASELINE}": difference,
    }
    found = []
    for _, part in decoupled.groupby(TABLE, sort=False, dropna=False):
        rows = {(row.features, row.classifier): row for row in part.itertuples()}
        classifiers = sorted(set(part.classifier), key=lambda name: (name != JOINT, name))
        of_all = part.pivot(index="features", columns="classifier", values="balanced_accuracy").dropna(axis=1)
        features = of_all.mean(axis=1).sort_values(ascending=False).index
        for about, text in kinds.items():
            shown = [name for name in features if text is not difference or name != BASELINE]
            texts = [[n, *(text(rows[n, c]) if (n, c) in rows else "" for c in classifiers)] for n in shown]
            if any(cell not in ("", "–") for line in texts for cell in line[1:]):
                head = ["features", *classifiers]
                found.append(Grid(f"{title(part.iloc[0])} · {about}", head, texts, wraps=True))
    return found


def text_of(grids: list[Grid], notes: list[str], form: Format, width: int | None) -> str:
    """Tables and the notes below them, for a terminal, as Markdown or LaTeX."""
    grids, notes = [grid.printable() for grid in grids], [printable(note) for note in notes]
    if form == "table":
        return _terminal(grids, notes, width)
    return _markdown(grids, notes) if form == "markdown" else latex(grids, notes)


def _terminal(grids: list[Grid], notes: list[str], width: int | None) -> str:
    console = Console(width=width or 200, force_terminal=width is not None, markup=False)
    unlimited = console.options.update(width=10_000)
    hidden: list[str] = []
    tables = [_terminal_table(grid) for grid in grids]
    for heading in dropping_order():
        rigid = [table for grid, table in zip(grids, tables, strict=True) if not grid.wraps]
        if max((console.measure(table, options=unlimited).maximum for table in rigid), default=0) <= console.width:
            break
        if any(heading in grid.head for grid in grids):
            hidden.append(heading)
            tables = [_terminal_table(grid.without(hidden)) for grid in grids]
    if hidden:
        notes = [
            *notes,
            f"Hidden in this narrow terminal: {', '.join(hidden)}. See all with: ltbench leaderboard --format csv",
        ]
    with console.capture() as captured:
        for grid, table in zip(grids, tables, strict=True):
            console.print(grid.title, style="bold", highlight=False)
            console.print(table)
        for note in notes:
            console.print(note, style="dim", highlight=False, soft_wrap=width is None)
    return captured.get().rstrip("\n")


def _terminal_table(grid: Grid) -> Table:
    table = Table(header_style="bold")
    for i, name in enumerate(grid.head):
        table.add_column(name, justify="left" if i < grid.left else "right", no_wrap=not grid.wraps, overflow="fold")
    for row, style in zip(grid.rows, grid.styles or [None] * len(grid.rows), strict=True):
        table.add_row(*row, style=style)
    return table


def _markdown(grids: list[Grid], notes: list[str]) -> str:
    lines = []
    for grid in grids:
        lines += [f"**{_escaped(grid.title)}**", "", f"| {' | '.join(map(_escaped, grid.head))} |"]
        lines.append(f"|{'---|' * grid.left}{'---:|' * (len(grid.head) - grid.left)}")
        lines += [f"| {' | '.join(row)} |" for row in ([_escaped(text) for text in row] for row in grid.rows)]
        lines.append("")
    return "\n".join([*lines, *(_without_html(note) for note in notes)])


def _escaped(text: str) -> str:
    return _without_html(text.replace("|", "/").replace("*", r"\*").replace("`", r"\`").replace("](", r"]\("))


def _without_html(text: str) -> str:
    """Escape what Markdown would take for the start of a tag."""
    return re.sub(r"<(?=[a-zA-Z/!?])", r"\<", text)


def _data(frame: pd.DataFrame, form: Format) -> str:
    if form == "csv":
        return for_spreadsheets(frame).to_csv(index=False).rstrip("\n")
    return json.dumps(json.loads(frame.to_json(orient="records", double_precision=15)), indent=1)


def for_spreadsheets(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame in which no text is a formula: one that begins like a formula gets an apostrophe in front."""

    def plain(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value

    numeric = pd.api.types.is_numeric_dtype
    made: pd.DataFrame = frame.apply(lambda column: column if numeric(column) else column.map(plain))
    return made.rename(columns=plain)

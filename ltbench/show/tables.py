"""The leaderboard as people read it: in a terminal, as Markdown, CSV, JSON or LaTeX."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd
from rich.console import Console
from rich.table import Table

from ltbench.results.across_tables import Ranks
from ltbench.results.leaderboard import TABLE, Protocol
from ltbench.results.statistics import LEVEL

Format = Literal["table", "markdown", "csv", "json", "latex"]
HEAD = ["", "method", "bal. accuracy", "vs ce", "many", "medium", "few", "bal. error", "macro F1", "ECE", "NLL"]
HEAD += ["train", "cost", "seeds", "rel. acc.", "paper"]
LEAST_NEEDED = [
    "bal. error",
    "NLL",
    "macro F1",
    "cost",
    "rel. acc.",
    "ECE",
    "train",
    "seeds",
    "vs ce",
    "medium",
    "many",
]
"""What a terminal that is too narrow leaves out, in this order."""
SHIFTS = [("forward", n) for n in (50, 25, 10, 5, 2)] + [("backward", n) for n in (2, 5, 10, 25, 50)]
NOTE = (
    "bal. accuracy: mean recall over classes in %, ± 95 % interval over seeds († one seed: over test "
    "images only, which knows nothing of the noise between seeds). "
    "train: of one seed, alone; cost: declared passes relative to plain training. "
    "★ best, ≈ not distinguishable from it (5 % over all pairs)."
)
VS_CE = (
    "vs ce: difference in points (of a tuned method to ce tuned by as many trials), ± 95 % interval, all of a table at "
    "once; * where it leaves out 0."
)
TESTS = {
    "seeds": "Compared over paired seeds (≈ Tukey, vs ce Dunnett; seeds as blocks, moderated variances).",
    "images": "One seed: compared over the same test images (McNemar by class, Bonferroni).",
    "hits": "One seed, without logits: compared as if each method had test images of its own (z, Bonferroni).",
}
RELATIVE = "rel. acc.: % of the better of ce and the method itself, trained on the balanced set (imbalance 1)."


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Attributes:
        left: how many columns are flush left.
        styles: of the rows, in a terminal.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    left: int = 1
    styles: list[str | None] | None = None

    def without(self, left_out: Collection[str]) -> "Grid":
        """The same with fewer columns."""
        shown = [i for i, name in enumerate(self.head) if name not in left_out]
        rows = [[row[i] for i in shown] for row in self.rows]
        return replace(self, head=[self.head[i] for i in shown], rows=rows)


def title(row: pd.Series) -> str:
    """What stands above a table."""
    parts = [str(row.dataset), f"imbalance {row.imbalance}", f"recipe {row.recipe}"]
    if row.get("subset_seed"):
        parts.append(f"subset seed {row.subset_seed}")
    if row.holdout:
        parts.append(f"{row.holdout} a class held out")
    return " · ".join(parts)


def cells_of(row: pd.Series) -> list[str]:
    """One line of a table, as text."""
    mark = "★" if row.best else "≈" if row.tied else ""
    if not row.seeds:
        return [mark, row.method, "failed", *[""] * 10, f"0 of {row.failed}", "", ""]
    accuracy = f"{row.balanced_accuracy:.1f}"
    if pd.notna(row.interval):
        accuracy += f" ± {row.interval:.1f}" + ("†" if row.interval_from == "images" else "")
    versus = ""
    if pd.notna(row.difference_to_ce):
        mark_ce = "*" if row.p_to_ce < 1 - LEVEL else ""
        versus = f"{row.difference_to_ce:+.1f} ± {row.difference_to_ce_interval:.1f}{mark_ce}"
    values = [row.many, row.medium, row.few, row.balanced_error, row.macro_f1, row.ece]
    seeds = f"{row.seeds} of {row.seeds + row.failed}" if row.failed else str(row.seeds)
    return [
        mark,
        row.method,
        accuracy,
        versus,
        *("–" if pd.isna(value) else f"{value:.1f}" for value in values),
        f"{row.nll:.2f}",
        duration(row.train_seconds) + ("‡" if row.runs_together > 1 else ""),
        f"{row.relative_cost:.2g}",
        seeds,
        f"{row.relative_accuracy:.1f}" if pd.notna(row.relative_accuracy) else "",
        f"{row.paper:.1f}" if pd.notna(row.paper) else "",
    ]


def duration(seconds: float) -> str:
    """``1.4 s``, ``2 min 05 s``, ``3 h 20 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def footnotes(board: pd.DataFrame, protocol: Protocol) -> list[str]:
    """What a reader must know of the tables."""
    notes = [" ".join([NOTE, *(text for over, text in TESTS.items() if (board.compared_over == over).any())])]
    notes += [VS_CE] if board.difference_to_ce.notna().any() else []
    notes += [f"many / medium / few: {shots_note(shots)}." for shots in dict.fromkeys(board.shots)]
    notes += [RELATIVE] if board.relative_accuracy.notna().any() else []
    if (board.runs_together > 1).any():
        notes.append("‡ beside other runs on the same device, so longer than alone.")
    if protocol == "best-on-test":
        notes.append("OPTIMISTIC: the epoch was chosen on the test set, as many papers do. Not a ranking.")
    if protocol == "val":
        notes.append("The epoch was chosen on the validation split.")
    papers = board[board.paper.notna()]
    if len(papers):
        sources = "; ".join(dict.fromkeys(f"{row.method}: {row.paper_source}" for row in papers.itertuples()))
        notes.append(f"paper: published accuracy under the same recipe, as a rule of the best test epoch ({sources}).")
    if (board.trials > 0).any():
        notes.append(
            "(tuned N): hyper-parameters, learning rate and weight decay chosen by N trials on validation images, not "
            "on the test set, then trained anew."
        )
    lost = board[board.failed > 0]
    return notes + [
        f"FAILED: {row.method} ({row.dataset} / {row.imbalance}): {row.reason}" for row in lost.itertuples()
    ]


def shots_note(shots: str) -> str:
    """What many, medium and few mean in a table."""
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
) -> str:
    """The leaderboard as text.

    Args:
        board: from ``ltbench.leaderboard``.
        form: how; CSV and JSON have all columns of the board, and nothing else.
        protocol: which one it shows; said where it is not ``last``.
        width: of the terminal in columns; None: as wide as it needs.
        ranks: from ``average_ranks``, by what they are over; shown where that is several tables.
        spread: from ``subset_spread``.
    """
    if form in ("csv", "json"):
        return _data(board.assign(protocol=protocol), form)
    notes = footnotes(board, protocol)
    notes += [ranks_note(name, found) for name, found in (ranks or {}).items() if found.tables > 1 and len(found.frame)]
    grids = [_board_grid(part) for _, part in board.groupby(TABLE, sort=False, dropna=False)]
    if spread is not None and len(spread):
        keys = [name for name in TABLE if name != "subset_seed"]
        grids += [_spread_grid(part) for _, part in spread.groupby(keys, sort=False)]
        notes.append(SPREAD_NOTE)
    absent = {"vs ce": "difference_to_ce", "rel. acc.": "relative_accuracy", "paper": "paper"}
    empty = [column for column, name in absent.items() if board[name].isna().all()]
    return RENDERERS[form]([grid.without(empty) for grid in grids], notes, width)


def render_shifted(shifted: pd.DataFrame, board: pd.DataFrame, form: Format, width: int | None = None) -> str:
    """Accuracy under shifted test priors as text, in the order of the leaderboard.

    Args:
        shifted: from ``shifted_priors``.
        board: of the same cells.
        form: how.
        width: of the terminal in columns; None: as wide as it needs.
    """
    if form in ("csv", "json"):
        return _data(shifted, form)
    accuracy = shifted.set_index([*TABLE, "method", "direction", "factor"]).accuracy
    head = [f"{'fwd' if way == 'forward' else 'bwd'} {n}" for way, n in SHIFTS]
    grids = []
    for key, part in board[board.seeds > 0].groupby(TABLE, sort=False, dropna=False):
        rows = []
        for method, uniform in zip(part.method, part.balanced_accuracy, strict=True):
            numbers = [accuracy[(*key, method, *shift)] for shift in SHIFTS]
            numbers.insert(5, uniform)
            rows.append([method, *(f"{number:.1f}" for number in numbers)])
        grids.append(Grid(title(part.iloc[0]), ["method", *head[:5], "uniform", *head[5:]], rows))
    return RENDERERS[form](grids, [SHIFTED_NOTE], width)


SPREAD_NOTE = (
    "Spread of balanced accuracy in points, standard deviations: over training seeds on one subset, with 95 % "
    "interval; of what the subset does to all training seeds alike (p: that it does nothing); of a run that draws both."
)
SHIFTED_NOTE = (
    "Accuracy in % on a test set with a long tail like that of training (fwd) or turned round (bwd), n_max / n_min as "
    "given; means over seeds of recalls weighted by class shares, which is the expectation over all such test sets."
)


def ranks_note(name: str, ranks: Ranks) -> str:
    """Average ranks in a paragraph."""
    order = ", ".join(f"{method} {rank:.1f}" for method, rank in ranks.frame.average_rank.items())
    text = f"Average rank over {ranks.tables} tables ({name}): {order}."
    if len(ranks.frame) > 1:
        text += (
            f" Friedman p = {ranks.friedman_p:.2g}; ranks less than {ranks.critical_difference:.1f} apart cannot be "
            "told apart (Nemenyi, 5 % over all pairs)."
        )
    return text + (f" Not in all tables, left out: {', '.join(ranks.left_out)}." if ranks.left_out else "")


def _board_grid(part: pd.DataFrame) -> Grid:
    rows = [row for _, row in part.iterrows()]
    styles = ["bold" if row.best else "dim" if not row.seeds else None for row in rows]
    return Grid(title(part.iloc[0]), HEAD, [cells_of(row) for row in rows], left=2, styles=styles)


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


def _terminal(grids: list[Grid], notes: list[str], width: int | None) -> str:
    console = Console(width=width or 200, force_terminal=width is not None, markup=False)
    unlimited = console.options.update(width=10_000)
    left_out: list[str] = []
    tables = [_terminal_table(grid) for grid in grids]
    for column in (name for name in LEAST_NEEDED if any(name in grid.head for grid in grids)):
        if max(console.measure(table, options=unlimited).maximum for table in tables) <= console.width:
            break
        left_out.append(column)
        tables = [_terminal_table(grid.without(left_out)) for grid in grids]
    if left_out:
        notes = [*notes, f"Too narrow for {', '.join(left_out)}: ltbench leaderboard --format csv has all."]
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
        table.add_column(name, justify="left" if i < grid.left else "right", no_wrap=True)
    for row, style in zip(grid.rows, grid.styles or [None] * len(grid.rows), strict=True):
        table.add_row(*row, style=style)
    return table


def _markdown(grids: list[Grid], notes: list[str], width: int | None) -> str:
    lines = []
    for grid in grids:
        lines += [f"**{grid.title}**", "", f"| {' | '.join(grid.head)} |"]
        lines.append(f"|{'---|' * grid.left}{'---:|' * (len(grid.head) - grid.left)}")
        lines += [f"| {' | '.join(row)} |" for row in ([_escaped(text) for text in row] for row in grid.rows)]
        lines.append("")
    return "\n".join([*lines, *notes])


def _escaped(text: str) -> str:
    return text.replace("|", "/").replace("*", r"\*")


def _latex(grids: list[Grid], notes: list[str], width: int | None) -> str:
    escapes = {"_": r"\_", "%": r"\%", "&": r"\&", "±": r"$\pm$", "★": r"$\star$", "≈": r"$\approx$", "†": r"$\dagger$"}
    escapes |= {"–": "--", "#": r"\#", "·": r"$\cdot$", "<": "$<$", ">": "$>$"}

    def line(texts: list[str]) -> str:
        return " & ".join("".join(escapes.get(c, c) for c in text) for text in texts) + r" \\"

    lines = []
    for grid in grids:
        columns = "l" * grid.left + "r" * (len(grid.head) - grid.left)
        lines += [f"% {grid.title}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(grid.head), r"\midrule"]
        lines += [line(row) for row in grid.rows]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join([*lines, *(f"% {note}" for note in notes)])


RENDERERS: dict[str, Callable[[list[Grid], list[str], int | None], str]] = {
    "table": _terminal,
    "markdown": _markdown,
    "latex": _latex,
}


def _data(frame: pd.DataFrame, form: Format) -> str:
    return frame.to_csv(index=False).rstrip("\n") if form == "csv" else json.dumps(records(frame), indent=1)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame as JSON values, null where there is nothing."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows

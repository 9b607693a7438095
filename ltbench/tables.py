"""The leaderboard as people read it: in a terminal, as Markdown, CSV, JSON or LaTeX."""

import json
from collections.abc import Callable
from typing import Any, Literal

import pandas as pd
from rich.console import Console
from rich.table import Table

from ltbench.frames import TABLE, Protocol

Format = Literal["table", "markdown", "csv", "json", "latex"]
HEAD = ["", "method", "bal. accuracy", "many", "medium", "few", "bal. error", "macro F1", "ECE", "NLL", "train", "cost"]
HEAD += ["seeds", "paper"]
LEAST_NEEDED = ["bal. error", "NLL", "macro F1", "cost", "ECE", "train", "seeds", "medium", "many"]
"""What a terminal that is too narrow leaves out, in this order."""
NOTE = (
    "bal. accuracy: mean recall over classes in %, ± 95 % interval over seeds († one seed: over test "
    "images only, which knows nothing of the noise between seeds). "
    "train: of one seed, alone; cost: declared passes relative to plain training. "
    "★ best, ≈ not distinguishable from it (Tukey HSD over paired seeds, 5 % over all pairs)."
)


def title(row: pd.Series) -> str:
    """What stands above a table."""
    parts = [str(row.dataset), f"imbalance {row.imbalance}", f"recipe {row.recipe}"]
    if row.subset_seed:
        parts.append(f"subset seed {row.subset_seed}")
    if row.holdout:
        parts.append(f"{row.holdout} a class held out")
    return " · ".join(parts)


def cells_of(row: pd.Series) -> list[str]:
    """One line of a table, as text."""
    mark = "★" if row.best else "≈" if row.tied else ""
    if not row.seeds:
        return [mark, row.method, "failed", *[""] * 9, f"0 of {row.failed}", ""]
    accuracy = f"{row.balanced_accuracy:.1f}"
    if pd.notna(row.interval):
        accuracy += f" ± {row.interval:.1f}" + ("†" if row.interval_from == "images" else "")
    values = [row.many, row.medium, row.few, row.balanced_error, row.macro_f1, row.ece]
    seeds = f"{row.seeds} of {row.seeds + row.failed}" if row.failed else str(row.seeds)
    return [
        mark,
        row.method,
        accuracy,
        *("–" if pd.isna(value) else f"{value:.1f}" for value in values),
        f"{row.nll:.2f}",
        duration(row.train_seconds) + ("‡" if row.runs_together > 1 else ""),
        f"{row.relative_cost:.2g}",
        seeds,
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
    notes = [NOTE, *(f"many / medium / few: {shots_note(shots)}." for shots in dict.fromkeys(board.shots))]
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


def render(board: pd.DataFrame, form: Format, protocol: Protocol, width: int | None = None) -> str:
    """The leaderboard as text.

    Args:
        board: from ``ltbench.leaderboard``.
        form: how.
        protocol: which one it shows; said where it is not ``last``.
        width: of the terminal in columns; None: as wide as it needs.
    """
    return RENDERERS[form](board, protocol, width)


def _parts(board: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups = board.groupby(TABLE, sort=False, dropna=False)
    return [(title(part.iloc[0]), part) for _, part in groups]


def _empty_columns(board: pd.DataFrame) -> list[str]:
    return [] if board.paper.notna().any() else ["paper"]


def _shown(left_out: list[str]) -> list[int]:
    return [i for i, column in enumerate(HEAD) if column not in left_out]


def _terminal(board: pd.DataFrame, protocol: Protocol, width: int | None) -> str:
    console = Console(width=width or 200, force_terminal=width is not None)
    unlimited = console.options.update(width=10_000)
    left_out = _empty_columns(board)
    tables = [_terminal_table(part, left_out) for _, part in _parts(board)]
    for column in LEAST_NEEDED:
        if max(console.measure(table, options=unlimited).maximum for table in tables) <= console.width:
            break
        left_out.append(column)
        tables = [_terminal_table(part, left_out) for _, part in _parts(board)]
    notes = footnotes(board, protocol)
    if narrow := [column for column in left_out if column in LEAST_NEEDED]:
        notes.append(f"Too narrow for {', '.join(narrow)}: ltbench leaderboard --format csv has all.")
    with console.capture() as captured:
        for (name, _), table in zip(_parts(board), tables, strict=True):
            console.print(name, style="bold", highlight=False)
            console.print(table)
        for note in notes:
            console.print(note, style="dim", highlight=False, soft_wrap=width is None)
    return captured.get().rstrip("\n")


def _terminal_table(part: pd.DataFrame, left_out: list[str]) -> Table:
    shown = _shown(left_out)
    table = Table(header_style="bold")
    for i in shown:
        table.add_column(HEAD[i], justify="left" if i < 2 else "right", no_wrap=True)
    for _, row in part.iterrows():
        texts = cells_of(row)
        table.add_row(*(texts[i] for i in shown), style="bold" if row.best else "dim" if not row.seeds else None)
    return table


def _text_rows(part: pd.DataFrame, shown: list[int], escape: Callable[[str], str]) -> list[list[str]]:
    rows = (cells_of(row) for _, row in part.iterrows())
    return [[escape(texts[i]) for i in shown] for texts in rows]


def _markdown(board: pd.DataFrame, protocol: Protocol, width: int | None) -> str:
    shown = _shown(_empty_columns(board))
    lines = []
    for name, part in _parts(board):
        lines += [
            f"**{name}**",
            "",
            f"| {' | '.join(HEAD[i] for i in shown)} |",
            f"|{'---|' * 2}{'---:|' * (len(shown) - 2)}",
        ]
        lines += [f"| {' | '.join(row)} |" for row in _text_rows(part, shown, lambda text: text.replace("|", "/"))]
        lines.append("")
    return "\n".join([*lines, *footnotes(board, protocol)])


def _latex(board: pd.DataFrame, protocol: Protocol, width: int | None) -> str:
    escapes = {"_": r"\_", "%": r"\%", "&": r"\&", "±": r"$\pm$", "★": r"$\star$", "≈": r"$\approx$", "†": r"$\dagger$"}
    escapes |= {"–": "--", "#": r"\#", "·": r"$\cdot$", "<": "$<$", ">": "$>$"}

    def tex(text: str) -> str:
        return "".join(escapes.get(c, c) for c in text)

    shown = _shown(_empty_columns(board))
    lines = []
    for name, part in _parts(board):
        lines += [f"% {name}", rf"\begin{{tabular}}{{ll{'r' * (len(shown) - 2)}}}", r"\toprule"]
        lines += [" & ".join(tex(HEAD[i]) for i in shown) + r" \\", r"\midrule"]
        lines += [" & ".join(row) + r" \\" for row in _text_rows(part, shown, tex)]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join([*lines, *(f"% {note}" for note in footnotes(board, protocol))])


def _csv(board: pd.DataFrame, protocol: Protocol, width: int | None) -> str:
    return board.assign(protocol=protocol).to_csv(index=False).rstrip("\n")


def _json(board: pd.DataFrame, protocol: Protocol, width: int | None) -> str:
    return json.dumps(records(board.assign(protocol=protocol)), indent=1)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame as JSON values, null where there is nothing."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows


RENDERERS: dict[str, Callable[[pd.DataFrame, Protocol, int | None], str]] = {
    "table": _terminal,
    "markdown": _markdown,
    "csv": _csv,
    "json": _json,
    "latex": _latex,
}

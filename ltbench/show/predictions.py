"""Predicted classes and probabilities as text."""

import json
from typing import Literal

import pandas as pd
from rich.console import Console
from rich.table import Table

from ltbench.show.tables import for_spreadsheets


def render_predictions(found: pd.DataFrame, form: Literal["table", "csv", "json"], top: int) -> str:
    """Probabilities [N, C] (index: images; columns: classes) as text.

    Args:
        top: classes of each image in a table, likeliest first.
    """
    if form == "csv":
        return (
            for_spreadsheets(found.rename_axis("image").reset_index()).to_csv(index=False, float_format="%.6f").rstrip()
        )
    if form == "json":
        rows = [
            {"image": image, "class": row.idxmax(), "probabilities": row.to_dict()} for image, row in found.iterrows()
        ]
        return json.dumps(rows, indent=1)
    table = Table("image", "class", "probability", *("further classes" for _ in range(top > 1)))
    for image, row in found.iterrows():
        ordered = row.sort_values(ascending=False, kind="stable")[:top]
        further = ", ".join(f"{name} {100 * value:.1f} %" for name, value in ordered[1:].items())
        table.add_row(str(image), str(ordered.index[0]), f"{100 * ordered.iloc[0]:.1f} %", *([further] * (top > 1)))
    console = Console(width=120, markup=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()

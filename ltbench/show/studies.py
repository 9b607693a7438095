"""The studies of tuning, as a table in the terminal."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ltbench.tuning.study import Study
from ltbench.units import duration


def print_studies(found: Sequence[Study]) -> None:
    """Print what tuning gained for each method, and which hyper-parameters decided."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    for place in dict.fromkeys((study.dataset, study.imbalance, study.recipe) for study in found):
        of_place = [study for study in found if (study.dataset, study.imbalance, study.recipe) == place]
        budgets = _budgets(of_place)
        expected = f"expected of {' / '.join(map(str, budgets))}"
        table = Table("method", "trials", "defaults", "best", expected, "decided by", "time", "chosen")
        for study in sorted(of_place, key=lambda one: -(one.best or {"value": -1.0})["value"]):
            curve = study.expected_best()
            failed = sum(trial["state"] == "failed" for trial in study.trials)
            table.add_row(
                study.method,
                f"{study.ended}" + (f" ({failed} failed)" if failed else ""),
                _percent(study.trials[0]["value"]),
                _percent(study.best["value"]) if study.best else "–",
                " / ".join(_percent(curve[min(n, len(curve)) - 1]) for n in budgets) if curve else "–",
                ", ".join(f"{name} {share:.0%}" for name, share in list(study.importances().items())[:2]),
                duration(study.seconds),
                _changes(study),
            )
        console.print(f"{place[0]} · imbalance {place[1]} · recipe {place[2]}", style="bold")
        console.print(table)
    console.print(
        "Balanced accuracy on validation images in %: with the defaults, of the best trial, and the expected best "
        "of so many trials. ltbench run --tuned trains the best values again, as rows beside the defaults.",
        style="dim",
    )


def _budgets(found: Sequence[Study]) -> list[int]:
    """The numbers of trials whose expected best is shown: 1, 5 where there are more, and all of the largest study."""
    most = max((study.ended for study in found), default=1)
    return sorted({1, min(5, most), max(1, most)})


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _changes(study: Study) -> str:
    """The values of the best trial that differ from the defaults, which are those of the first trial."""
    if study.best is None:
        return ""
    defaults = study.trials[0]["params"]
    changed = {name: value for name, value in study.best["params"].items() if value != defaults[name]}
    texts = (
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in changed.items()
    )
    return ", ".join(texts) or "the defaults"

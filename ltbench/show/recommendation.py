"""What a table recommends, in words."""

from ltbench.results.recommend import Choice


def recommendation(choice: Choice) -> str:
    """One or two lines: the recommended method with its margin and cost, or why there is none."""
    place = f"{choice.table['dataset']}, imbalance {choice.table['imbalance']}"
    if choice.row is None:
        return f"No recommendation for {place}: {choice.reason}."
    row = choice.row
    margin = f", {row.difference_to_ce:+.1f} over ce" if row.difference_to_ce == row.difference_to_ce else ""
    equals = f" Not distinguishable from it there, and no cheaper: {', '.join(choice.equals)}." if choice.equals else ""
    return (
        f"Recommended for {place}, by its validation images: {row.method}. On test images it has "
        f"{row.balanced_accuracy:.1f} ± {row.interval:.1f} % balanced accuracy{margin}; cost {row.relative_cost:.3g}, "
        f"relative to ce.{equals}\nNext: ltbench export {choice.cell} -o model"
    )

"""What a run says before it trains: skipped methods, images, weights, how much there is to do."""

from collections.abc import Sequence

from ltbench.data.files import FileSet
from ltbench.data.precision import precision
from ltbench.plan.cell import BASELINE
from ltbench.plan.expand import Plan, Planned
from ltbench.plan.suite import load_suite
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.workload import estimate_seconds
from ltbench.units import duration


def announcement(plan: Plan, to_do: Sequence[Planned], store: Store, how: RunOptions) -> list[str]:
    """The lines about a plan.

    Args:
        plan: what is asked for.
        to_do: its cells without a finished record.
        store: of the results.
        how: resolved options.
    """
    skipped = [f"skipped: {why}" for why in {**plan.skipped, **plan.broken}.values()]
    return [*skipped, *_image_files(plan), *_weights(plan), _workload(plan, to_do, store, how)]


def _image_files(plan: Plan) -> list[str]:
    """One line on each data set of image files."""
    lines = []
    for planned in {p.cell.dataset: p for p in plan.cells}.values():
        if planned.test is not None and isinstance(planned.images, FileSet):
            lines.append(_described(planned.images, planned.test.read().counts(len(planned.counts))))
    return lines


def _described(images: FileSet, test: Sequence[int]) -> str:
    """One line on a data set: its images, where the test images come from, and how precise results can be.

    Args:
        images: the data set, with or without its test split.
        test: test images of each class, [C].
    """
    train = images.train.counts(len(images.classes))
    val = f", {len(images.val)} val" if images.val is not None else ""
    return (
        f"{images.name} from {images.found}: {len(train)} classes, {sum(train)} train{val}, {sum(test)} test images, "
        f"imbalance factor {max(train) / min(train):.3g}; test images: {images.tested}; {precision(test)}"
    )


def _weights(plan: Plan) -> list[str]:
    """One line on the pretrained weights of each data set and backbone."""
    lines: dict[str, None] = {}
    for planned in plan.cells:
        recipe, (height, width, _) = planned.cell.recipe, planned.images.train.images.shape[1:]
        if recipe.weights is not None:
            seen = "x".join(map(str, recipe.input_size(height, width)))
            lines[
                f"{planned.cell.label}: weights {recipe.weights}, pretrained on {recipe.weights.data}; images resized "
                f"to {width}x{height} ({recipe.interpolation}), the network sees {seen}"
            ] = None
    return list(lines)


def _workload(plan: Plan, to_do: Sequence[Planned], store: Store, how: RunOptions) -> str:
    """One line on how much there is to train, and how long it takes."""
    stages = [stage.id for planned in to_do for stage in planned.stages]
    shared = len(stages) - len(set(stages))
    seconds = estimate_seconds(to_do, store)
    time = "time not known yet" if seconds is None else f"about {duration(seconds / (how.workers or 1))}"
    time += " divided by the number of workers" if how.workers is None and seconds else ""
    under = "" if plan.suite.as_published else "under recipe "
    further = sorted({p.cell.seed for p in plan.cells} - set(plan.suite.seeds))
    own = plan.request.recipe_in_place_of(load_suite(plan.request.suite).recipe.base)
    return (
        f"{plan.suite.name}: {len(plan.cells)} cells {under}{plan.compared_under}, "
        f"{len(plan.cells) - len(to_do)} done, {len(to_do)} to do"
        + (", imbalance natural (the default for images of your own)" if plan.request.natural_by_default else "")
        + (f", recipe {own} (the default for images of your own; see also --recipe finetune and frozen)" if own else "")
        + (f", {time}" if to_do else "")
        + (f"; {len(stages)} stages, {shared} of them shared and trained only once" if shared else "")
        + (f"; {BASELINE} also with seeds {', '.join(map(str, further))} (not with --seeds)" if further else "")
    )

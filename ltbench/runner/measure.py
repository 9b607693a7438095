"""From the trained stages of a cell to its `Result`: metrics under each protocol, and costs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ltbench.engine.stage import State
from ltbench.engine.task import Task
from ltbench.method.contract import Method
from ltbench.metrics import shot_groups, summary
from ltbench.plan.cell import Cell
from ltbench.results.record import Chosen, Cost, Evaluation, Measured, Protocol, Result, StageLosses, StageTier
from ltbench.runner.environment import environment, peak_memory_bytes


@dataclass(frozen=True, eq=False)
class Phase:
    """A finished stage.

    Attributes:
        stage: its name.
        state: what training it left.
        reused: whether the store had it already.
        own: whether it belongs to the cell's own method, the last of its chain.
    """

    stage: str
    state: State
    reused: bool
    own: bool


def result_of(cell: Cell, method: Method, task: Task, phases: Sequence[Phase], wall_seconds: float) -> Result:
    """The result of a cell whose stages are all trained.

    Args:
        method: the cell's own.
        phases: its stages in order, those of the whole chain.
        wall_seconds: from the start of the cell.
    """
    data, last = task.data, phases[-1].state
    measured, _ = data.measured
    groups = shot_groups(data.counts, cell.shots)
    totals = {
        name: split.counts(len(data.counts))
        for name, split in (("test", data.test), ("val", data.val))
        if split is not None
    }
    own = [phase for phase in phases if phase.own]
    evaluations = [
        Evaluation(
            stage=phase.stage,
            epoch=entry["epoch"],
            **{split: Measured(**summary(entry[split], n, groups)) for split, n in totals.items()},
        )
        for phase in own
        for entry in phase.state["evaluations"]
    ]
    return Result(
        classes=data.names,
        class_counts=tuple(data.counts),
        measured_on=measured,
        test_counts=tuple(totals[measured]),
        groups={name: len(members) for name, members in groups.items()},
        hits=last["evaluations"][-1][measured]["hits"],
        protocols=protocols(evaluations[-len(last["evaluations"]) :], measured),
        evaluations=tuple(evaluations),
        losses=tuple(StageLosses(stage=phase.stage, loss=phase.state["losses"]) for phase in own),
        tiers=tuple(
            StageTier(stage=phase.stage, tier=phase.state["tier"], reason=phase.state["tier_reason"]) for phase in own
        ),
        image=data.train.images.shape[1:],
        images_in=task.images_in,
        parameters=sum(v.numel() for k, v in last["network"].items() if not k.endswith(("_mean", "_var"))),
        cost=cost_of(phases, method.cost, wall_seconds, peak_memory_bytes(task.device)),
        environment=environment(task.device),
    )


def protocols(final: Sequence[Evaluation], measured: str) -> dict[Protocol, Chosen]:
    """The epoch that each protocol reports, among the evaluations of the final stage.

    ``last`` is the last epoch; ``val`` the epoch with the best balanced accuracy on the validation split (absent
    without one); ``best-on-test`` the same on the test split, which is optimistic. The metrics are of the split
    ``measured``.
    """

    def on(split: str, evaluation: Evaluation) -> Measured:
        found: Measured = getattr(evaluation, split)
        return found

    chosen: dict[Protocol, Evaluation] = {"last": final[-1]}
    if final[-1].val is not None:
        chosen["val"] = max(final, key=lambda evaluation: on("val", evaluation).balanced_accuracy)
    if final[-1].test is not None:
        chosen["best-on-test"] = max(final, key=lambda evaluation: on("test", evaluation).balanced_accuracy)
    return {name: Chosen(epoch=found.epoch, **vars(on(measured, found))) for name, found in chosen.items()}


def cost_of(phases: Sequence[Phase], relative_cost: float, wall_seconds: float, peak_memory: int) -> Cost:
    """What a cell costs if trained from the start, and how much of that another cell had already spent."""

    def total(name: str, among: Iterable[Phase] = phases) -> Any:
        return sum(phase.state[name] for phase in among)

    reused = [phase for phase in phases if phase.reused]
    done_here = [phase for phase in phases if not phase.reused]
    seconds, images = total("train_seconds"), total("images")
    return Cost(
        train_seconds=seconds,
        evaluation_seconds=total("evaluation_seconds"),
        reused_seconds=total("train_seconds", reused),
        work_seconds=total("train_seconds", done_here) + total("evaluation_seconds", done_here),
        images=images,
        images_per_second=images / max(seconds, 1e-9),
        relative_cost=relative_cost,
        wall_seconds=wall_seconds,
        peak_memory_bytes=peak_memory,
    )

"""From the trained stages of a cell to its `Result`: metrics under each protocol, and costs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ltbench.data import LongTailed
from ltbench.engine.evaluate import Predictions
from ltbench.engine.stage import State
from ltbench.engine.task import Task
from ltbench.metrics import metrics_of, shot_groups, summary
from ltbench.results.record import Chosen, Cost, Evaluation, Measured, Protocol, Result, StageLosses, StageRun
from ltbench.runner.environment import environment, peak_memory_bytes


@dataclass(frozen=True, eq=False)
class Phase:
    """A finished stage.

    Attributes:
        method: whose stage it is.
        stage: its name.
        state: what training it left.
        reused: whether the store had it already.
        own: whether it belongs to the cell's own method, the last of its chain.
    """

    method: str
    stage: str
    state: State
    reused: bool
    own: bool


@dataclass(frozen=True, eq=False)
class Measurement:
    """What the stored networks of a cell predict for the images that it is measured on.

    Attributes:
        split: name of that split, ``test`` or ``val``.
        labels: of its images, [N].
        last: after the last epoch.
        best: the best epoch on the validation split, and the predictions after it; None without a validation split.
        seconds: that this took.
    """

    split: Literal["test", "val"]
    labels: NDArray[np.int64]
    last: Predictions
    best: tuple[int, Predictions] | None
    seconds: float

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The predictions after the last epoch, as `Store.arrays` describes them."""
        predicted, confidence, nll, brier = self.last.images
        classes = np.min_scalar_type(self.last.logits.shape[1] - 1)
        return {
            "labels": self.labels.astype(classes),
            "predicted": predicted.astype(classes),
            "confidence": confidence,
            "nll": nll,
            "brier": brier,
            "logits": self.last.logits,
        }


def result_of(
    task: Task,
    phases: Sequence[Phase],
    measurement: Measurement,
    arrays: str,
    relative_cost: float,
    wall_seconds: float,
) -> Result:
    """The result of a cell whose stages are all trained.

    Args:
        phases: its stages in order, those of the whole chain.
        measurement: of the last one.
        arrays: digest of the stored predictions.
        relative_cost: of its chain, as declared.
        wall_seconds: from the start of the cell.
    """
    data, last = task.data, phases[-1].state
    classes = len(data.counts)
    totals = np.bincount(measurement.labels, minlength=classes).tolist()
    final = metrics_of(measurement.last.images, measurement.labels, data.counts)
    evaluations = evaluations_of(phases, data, measurement.split, final)
    return Result(
        classes=data.names,
        class_counts=tuple(data.counts),
        measured_on=measurement.split,
        test_counts=tuple(totals),
        arrays=arrays,
        protocols=protocols(measurement, final, last, data.counts),
        evaluations=evaluations,
        losses=tuple(StageLosses(stage=phase.stage, loss=phase.state["losses"]) for phase in phases if phase.own),
        stages=tuple(
            StageRun(
                method=phase.method,
                stage=phase.stage,
                tier=phase.state["tier"],
                reason=phase.state["tier_reason"],
                environments=phase.state["environments"],
                reused=phase.reused,
            )
            for phase in phases
        ),
        image=data.train.images.shape[1:],
        images_in=task.images_in,
        parameters=sum(v.numel() for k, v in last["network"].items() if not k.endswith(("_mean", "_var"))),
        cost=cost_of(phases, relative_cost, measurement.seconds, wall_seconds, peak_memory_bytes(task.device)),
        environment=environment(task.device),
    )


def evaluations_of(
    phases: Sequence[Phase], data: LongTailed, measured: str, final: Mapping[str, Any]
) -> tuple[Evaluation, ...]:
    """The evaluations of a cell's own stages, the last of which has the metrics that are reported."""
    groups = shot_groups(data.counts)
    splits = {name: split for name, split in (("test", data.test), ("val", data.val)) if split is not None}
    totals = {name: split.counts(len(data.counts)) for name, split in splits.items()}
    own = [phase for phase in phases if phase.own]
    found = [
        Evaluation(
            stage=phase.stage,
            epoch=entry["epoch"],
            **{split: Measured(**summary(entry[split], n, groups)) for split, n in totals.items()},
        )
        for phase in own
        for entry in phase.state["evaluations"]
    ]
    if not own[-1].state["evaluations"]:
        found.append(Evaluation(stage=own[-1].stage, epoch=own[-1].state["epoch"]))
    metrics = Measured(**{name: value for name, value in final.items() if name != "hits"})
    return (*found[:-1], found[-1].model_copy(update={measured: metrics}))


def protocols(
    measurement: Measurement, final: Mapping[str, Any], last: State, counts: Sequence[int]
) -> dict[Protocol, Chosen]:
    """The epoch that each protocol reports, among the evaluations of the final stage.

    ``last`` is the last epoch; ``val`` the epoch with the best balanced accuracy on the validation split (absent
    without one); ``best-on-test`` the same on the test split, which is optimistic (absent without a test curve).

    Args:
        measurement: of the final stage.
        final: metrics after its last epoch.
        last: state of the final stage.
        counts: training images of each class, [C].
    """
    chosen: dict[Protocol, Chosen] = {"last": Chosen(epoch=last["epoch"], **final)}
    if measurement.best is not None:
        epoch, found = measurement.best
        chosen["val"] = Chosen(epoch=epoch, **metrics_of(found.images, measurement.labels, counts))
    if tested := [entry for entry in last["evaluations"] if "test" in entry]:
        totals, groups = np.bincount(measurement.labels, minlength=len(counts)).tolist(), shot_groups(counts)
        each = [
            Chosen(epoch=entry["epoch"], hits=entry["test"]["hits"], **summary(entry["test"], totals, groups))
            for entry in tested
        ]
        chosen["best-on-test"] = max(each, key=lambda one: one.balanced_accuracy)
    return chosen


def cost_of(
    phases: Sequence[Phase], relative_cost: float, measuring_seconds: float, wall_seconds: float, peak_memory: int
) -> Cost:
    """What a cell costs if trained from the start, and how much of that another cell had already spent."""

    def total(name: str, among: Iterable[Phase] = phases) -> Any:
        return sum(phase.state[name] for phase in among)

    reused = [phase for phase in phases if phase.reused]
    done_here = [phase for phase in phases if not phase.reused]
    seconds, images = total("train_seconds"), total("images")
    return Cost(
        train_seconds=seconds,
        evaluation_seconds=total("evaluation_seconds") + measuring_seconds,
        reused_seconds=total("train_seconds", reused),
        work_seconds=total("train_seconds", done_here) + total("evaluation_seconds", done_here) + measuring_seconds,
        images=images,
        images_per_second=images / max(seconds, 1e-9),
        relative_cost=relative_cost,
        wall_seconds=wall_seconds,
        peak_memory_bytes=peak_memory,
    )

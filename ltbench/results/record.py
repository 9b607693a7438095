"""A record: everything that is stored about one attempt at a cell, finished or failed."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ltbench.errors import InputError
from ltbench.method.entries import AFTER, of_chain
from ltbench.method.source import engine_digest
from ltbench.plan.cell import BASELINE, Cell, Link, entry
from ltbench.results.files import read_whole

FORMAT: Literal[3] = 3
Protocol = Literal["last", "val", "best-on-test"]
"""Which epoch is reported: the last one; the best on the validation split; the best on the test split (optimistic)."""
JOINT = "joint"
"""The classifier of a method that trains features and classifier together."""


SEAL = b',"seal":"'
"""What separates the values of a record from their hash."""


def _seal(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest()[:16].encode() + b'"}'


def now() -> str:
    """The time in UTC, in a form that sorts."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Frozen(BaseModel):
    """A part of a record: cannot be changed, and accepts no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Measured(Frozen):
    """The metrics of one evaluation on one split, in percent (``nll`` in nats); None for an empty group of classes.

    Each class with images has the same weight in all of them but ``accuracy``.
    """

    balanced_accuracy: float
    balanced_error: float
    many: float | None
    medium: float | None
    few: float | None
    accuracy: float
    macro_f1: float
    ece: float
    brier: float
    nll: float


class Chosen(Measured):
    """The metrics of the epoch that a protocol reports; ``hits``: correctly predicted images of each class, [C]."""

    epoch: int
    hits: tuple[int, ...]


class Evaluation(Frozen):
    """The metrics after one epoch of a stage, on each split that the run has."""

    stage: str
    epoch: int
    test: Measured | None = None
    val: Measured | None = None


class StageLosses(Frozen):
    """The mean training loss of each epoch of a stage."""

    stage: str
    loss: tuple[float, ...]


class StageRun(Frozen):
    """How and where a stage of the chain was trained.

    Attributes:
        tier: how its steps were run; ``reason`` says why not in the tier that was asked for.
        environments: `Environment.rounding` of the processes that trained it, usually one.
        reused: whether another cell had trained it.
    """

    method: str
    stage: str
    tier: str
    reason: str
    environments: tuple[str, ...]
    reused: bool


class Cost(Frozen):
    """What a cell cost. Times in seconds.

    Attributes:
        train_seconds: of all stages of the chain, as if each had been trained for this cell.
        evaluation_seconds: of the same stages.
        reused_seconds: share of ``train_seconds`` that another cell had already spent.
        work_seconds: training and evaluation that this cell did itself.
        images: training images seen.
        images_per_second: while training.
        relative_cost: declared passes relative to plain training.
        wall_seconds: from start to end.
        peak_memory_bytes: of the device; None where several runs shared it.
        runs_together: runs in the same process at the same time.
    """

    train_seconds: float
    evaluation_seconds: float
    reused_seconds: float
    work_seconds: float
    images: int
    images_per_second: float
    relative_cost: float
    wall_seconds: float
    peak_memory_bytes: int | None
    runs_together: int = 1


class Environment(Frozen):
    """Versions, device and revision: what a number was obtained with.

    Attributes:
        instructions: vector instructions of the processor; empty on a GPU.
        threads: of the process; 1 on a GPU, where they round nothing.
    """

    python: str
    ltbench: str
    torch: str
    timm: str
    numpy: str
    platform: str
    device: str
    device_name: str
    instructions: str
    threads: int
    revision: str | None

    @property
    def rounding(self) -> str:
        """What decides how numbers are rounded: where this is equal, a cell repeats bit for bit."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        chip = f"{self.device_name} ({self.instructions}), {threads}" if self.instructions else self.device_name
        return f"{chip}, torch {self.torch}, timm {self.timm}"


class Result(Frozen):
    """What came out of a finished cell.

    Attributes:
        classes: class names, [C]; numbers from 0 where the data set has no names.
        class_counts: training images of each class, [C].
        measured_on: the split that all metrics are of: ``test``, or ``val`` where there is no test split.
        test_counts: images of each class in that split, [C].
        arrays: digest of the stored predictions, from `Store.write_arrays`.
        image: height, width and channels of the images.
        images_in: where the images were while training (``device``, ``host``, ``file``).
        parameters: of the network.
    """

    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    measured_on: Literal["test", "val"]
    test_counts: tuple[int, ...]
    arrays: str
    protocols: dict[Protocol, Chosen]
    evaluations: tuple[Evaluation, ...]
    losses: tuple[StageLosses, ...]
    stages: tuple[StageRun, ...]
    image: tuple[int, int, int]
    images_in: str
    parameters: int
    cost: Cost
    environment: Environment

    @property
    def last(self) -> Chosen:
        """The metrics after the last epoch."""
        return self.protocols["last"]

    @property
    def hits(self) -> tuple[int, ...]:
        """Correctly predicted images of each class after the last epoch, [C]."""
        return self.last.hits

    @property
    def numbers(self) -> tuple[object, ...]:
        """Everything that is equal where a cell repeats bit for bit."""
        return self.arrays, self.protocols, self.evaluations, self.losses

    @property
    def roundings(self) -> tuple[str, ...]:
        """`Environment.rounding` of every process that trained a stage or measured, usually a single one."""
        of_stages = (where for stage in self.stages for where in stage.environments)
        return tuple(dict.fromkeys([*of_stages, self.environment.rounding]))

    @property
    def compiled(self) -> bool:
        """Whether a stage was trained with a compiled backbone, which rounds otherwise than the other tiers."""
        return any(stage.tier == "compiled" for stage in self.stages)


class Record(Frozen):
    """One attempt at a cell.

    Attributes:
        id: identity of the cell; ``row`` is the same without the seed.
        dataset: as tables call it; ``fingerprint`` is the hash of its pixels and labels.
        hyperparameters: those that differ from the method's defaults, ``after`` where the features are of another
            method than usual, and of a tuned cell the recipe's.
        recipe: label of the recipe whose table the cell is in; ``recipe_values`` is what it was trained with.
        chain: the methods trained one after another, the cell's own last.
        engine: hash of the code that every method's results depend on.
        sources: hash of each piece of code that can change the result, by name.
        trials: number of tuning trials that chose the hyper-parameters; 0 without tuning.
        weights: name and hash of the pretrained weights; empty without.
        trained_under: label of its own recipe, where ``recipe`` is a table of published settings; else empty.
        command: repeats the cell.
        created: time in UTC, in ISO format.
        reason: why the cell failed; None where it is finished.
        died: whether its process ended before it could say why.
        result: None where the cell failed.
    """

    format: Literal[3] = FORMAT
    id: str
    row: str
    dataset: str
    fingerprint: str
    imbalance: str
    subset_seed: int
    holdout: int
    method: str
    hyperparameters: dict[str, Any]
    recipe: str
    seed: int
    trials: int = 0
    weights: str = ""
    trained_under: str = ""
    recipe_values: dict[str, Any]
    chain: tuple[Link, ...]
    engine: str
    sources: dict[str, str] = {}
    suite: str
    command: str
    created: str = Field(default_factory=now)
    reason: str | None = None
    died: bool = False
    result: Result | None = None

    @classmethod
    def of(cls, cell: Cell, *, suite: str, command: str, **outcome: Any) -> Self:
        """The record of an attempt at a cell; ``outcome`` is its ``result``, or its ``reason`` for failing."""
        return cls(
            id=cell.id,
            row=cell.row,
            **cell.describe(),
            recipe_values=cell.recipe.identity(),
            chain=cell.chain,
            engine=engine_digest(),
            sources=cell.sources,
            suite=suite,
            command=command,
            **outcome,
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a file.

        Raises:
            InputError: for a file that is not a record, or a record of another version of ltbench.
        """
        raw = read_whole(path)
        content, found, seal = raw.rpartition(SEAL)
        try:
            record = cls.model_validate_json(content + b"}" if found else raw)
        except ValidationError as error:
            first = error.errors()[0]
            if first["loc"] == ("format",):
                raise InputError(
                    f"record {path} has format {first['input']} and this ltbench reads format {FORMAT}; upgrade to a "
                    "newer ltbench with pip install -U ltbench, or use another results folder"
                ) from error
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"{path} is not a record of ltbench ({where}: {first['msg']}); remove the file") from error
        if seal != _seal(content):
            raise InputError(f"record {path} was changed since it was written; restore or remove the file")
        return record

    def write(self) -> bytes:
        """The content of the record's file: its values, and a hash of them, so that a change is seen."""
        content = self.model_dump_json().encode().removesuffix(b"}")
        return content + SEAL + _seal(content)

    @property
    def status(self) -> Literal["done", "failed"]:
        """Whether the cell was trained to the end."""
        return "failed" if self.result is None else "done"

    @property
    def finished(self) -> Result:
        """The result of a finished cell."""
        assert self.result is not None, f"cell {self.id} failed: {self.reason}"
        return self.result

    @property
    def entry(self) -> str:
        """The method as tables print it, with changed hyper-parameters or the number of trials."""
        return entry(self.method, self.hyperparameters, self.trials, self.weights)

    @property
    def control(self) -> str:
        """The entry that it is compared with."""
        return entry(BASELINE, {}, self.trials, self.weights)

    @property
    def features(self) -> str:
        """The method that its features are from, as an entry: the one that it comes after, or itself."""
        if len(self.chain) == 1:
            return self.entry
        return entry(str(self.hyperparameters.get(AFTER, self.chain[-2].method)), {}, weights=self.weights)

    @property
    def classifier(self) -> str:
        """The method as an entry without what it comes after; `JOINT` where it trains features and classifier."""
        own = {key: value for key, value in self.hyperparameters.items() if key not in of_chain(self.hyperparameters)}
        return entry(self.method, own, self.trials) if len(self.chain) > 1 else JOINT

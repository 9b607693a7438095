"""A cell: one training run, frozen and hashable, and its identities, which decide when a result can be reused."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ltbench.data.longtail import Imbalance
from ltbench.method.entries import of_chain, written
from ltbench.method.source import engine, engine_digest
from ltbench.plan.recipe import Recipe


def digest(value: Any) -> str:
    """Sixteen hex digits that name a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


BASELINE = "ce"
"""The method that others are compared with."""
AS_PUBLISHED = "as published"
"""How the names of tables begin in which every row has a recipe of its own: that of a published accuracy."""


def entry(method: str, changed: Mapping[str, Any], trials: int = 0, weights: str = "") -> str:
    """A method with what is changed in it, as tables print it and suites write it: ``crt(after=mixup, lr=0.05)``.

    After tuning it is ``aux_random (tuned 20)``, with the number of trials. Pretrained weights follow: ``ce @ NAME``.
    """
    name = f"{written(method, of_chain(changed))} (tuned {trials})" if trials else written(method, changed)
    return f"{name} @ {weights}" if weights else name


@dataclass(frozen=True)
class Link:
    """A method in a cell's chain.

    Attributes:
        method: name.
        source: hash of the code that it is built from, besides what every method is built from.
        hyperparameters: all of them, with their values.
    """

    method: str
    source: str
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One training run.

    Attributes:
        dataset: as the suite writes it; ``label`` is its name in tables, ``fingerprint`` the hash of its pixels.
        chain: the methods trained one after another; the last one is the cell's own.
        changed: what an entry says of its method: the hyper-parameters that differ from their defaults, ``after`` where
            its features are of another method than usual, and of a tuned cell the changes of the recipe.
        recipe: the recipe it is trained with.
        trials: number of tuning trials that chose its values; 0 without tuning.
        trial: number of the trial that it is, while a method is being tuned.
        compared_under: label of the recipe whose table it is in; empty: that of its own recipe.
        costs: declared passes of its chain up to each method, relative to plain training.
        pieces: the hash of each piece of code that its methods are built from, and not every method.
    """

    dataset: str
    label: str
    fingerprint: str
    imbalance: Imbalance
    subset_seed: int
    holdout: int
    chain: tuple[Link, ...]
    changed: Mapping[str, Any] = field(hash=False)
    recipe: Recipe = field(hash=False)
    seed: int = 0
    trials: int = 0
    trial: int | None = None
    compared_under: str = ""
    costs: tuple[float, ...] = field(default=(1.0,), compare=False)
    pieces: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)

    @property
    def sources(self) -> dict[str, str]:
        """The hash of each piece of code that can change its result, by name."""
        return {**engine(), **self.pieces}

    @property
    def method(self) -> str:
        """The cell's own method."""
        return self.chain[-1].method

    @property
    def relative_cost(self) -> float:
        """Declared passes of its chain relative to plain training."""
        return self.costs[-1]

    @property
    def tuned_as(self) -> str:
        """The entry that tuning knows its method by: without hyper-parameters."""
        return written(self.method, of_chain(self.changed))

    @cached_property
    def row(self) -> str:
        """Identity without the seed: cells of one row differ in the seed alone."""
        return row_identity(self._data(), self.recipe.identity(), self.chain, self.trials)

    @cached_property
    def id(self) -> str:
        """Identity: a hash of everything that can change the result."""
        return digest([self.row, self.seed])

    def stage_id(self, link: int, stage: int) -> str:
        """Identity of a stage: a hash of everything up to its end that can change the network.

        Args:
            link: index of the method in the chain.
            stage: index of the stage among those of the method.
        """
        before = [_values(x) for x in self.chain[:link]]
        return digest(
            [
                "stage",
                self._data(),
                self.recipe.identity_of_training(),
                self.seed,
                before,
                _values(self.chain[link]),
                stage,
            ]
        )

    def describe(self) -> dict[str, Any]:
        """The coordinates of the cell, as records and plans store them."""
        found = {
            "dataset": self.label,
            "fingerprint": self.fingerprint,
            "imbalance": str(self.imbalance),
            "subset_seed": self.subset_seed,
            "holdout": self.holdout,
            "method": self.method,
            "hyperparameters": dict(self.changed),
            "recipe": self.compared_under or self.recipe.label,
            "seed": self.seed,
        }
        found |= {name: value for name, value in (("trials", self.trials), ("weights", self.weights)) if value}
        return found | ({"trained_under": self.recipe.label} if self.compared_under.startswith(AS_PUBLISHED) else {})

    @property
    def weights(self) -> str:
        """Name and hash of its pretrained weights; empty without."""
        return str(self.recipe.weights or "")

    @property
    def entry(self) -> str:
        """The method with its changed hyper-parameters, or with its number of trials or its trial."""
        if self.trial is not None:
            return f"{self.tuned_as} (trial {self.trial})"
        return entry(self.method, self.changed, self.trials, self.weights)

    @property
    def control(self) -> str:
        """The entry that it is compared with."""
        return entry(BASELINE, {}, self.trials, self.weights)

    def __str__(self) -> str:
        return f"{self.label} / {self.imbalance} / {self.entry} / seed {self.seed}"

    def _data(self) -> list[Any]:
        return [engine_digest(), self.fingerprint, str(self.imbalance), self.subset_seed, self.holdout]


def row_identity(data: Sequence[Any], recipe: Mapping[str, Any], chain: Sequence[Link], trials: int) -> str:
    """Identity of a row of the leaderboard.

    Args:
        data: hash of the code of all methods, fingerprint, imbalance as text, subset seed and holdout.
        recipe: `Recipe.identity`.
        chain: the methods.
        trials: number of tuning trials; 0 without tuning.
    """
    return digest([data, recipe, [_values(link) for link in chain], *([trials] if trials else [])])


def _values(link: Link) -> list[Any]:
    return [link.method, link.source, dict(link.hyperparameters)]

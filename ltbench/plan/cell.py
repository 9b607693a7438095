"""A cell: one training run, frozen and hashable, and the identities that say when a result may be used again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ltbench.data.longtail import Imbalance
from ltbench.plan.recipe import Recipe

SCIENCE = 1
"""Raised whenever the engine, the samplers or the data path would give other numbers for the same cell."""

Shots = str | tuple[int, int]
"""``auto``, ``terciles``, or (few below, many above) in training images."""


def digest(value: Any) -> str:
    """Sixteen hex digits that name a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def entry(method: str, changed: Mapping[str, Any], trials: int = 0) -> str:
    """A method with hyper-parameters of its own, as tables print and suites take it: ``aux_random(weight=0.5)``.

    Tuned by so many trials it is ``aux_random (tuned 20)``.
    """
    if trials:
        return f"{method} (tuned {trials})"
    return method + (f"({', '.join(f'{name}={value}' for name, value in changed.items())})" if changed else "")


@dataclass(frozen=True)
class Link:
    """A method in a cell's chain: what decides what its stages do.

    Attributes:
        method: name.
        source: hash of its file.
        hyperparameters: all of them, with their values.
    """

    method: str
    source: str
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One training run.

    Attributes:
        dataset: as the suite writes it; ``label`` is what tables call it, ``fingerprint`` the hash of its pixels.
        chain: the methods trained one after another; the last one is the cell's own.
        changed: the hyper-parameters that differ from their defaults, and of a tuned cell the recipe's.
        recipe: what it is trained with.
        trials: how many the tuning had that chose its values; 0 where nothing was tuned.
        trial: which of them it is itself, while a method is being tuned.
        compared_under: label of the recipe whose table it stands in; empty: that of its own. Another one is tuning's.
    """

    dataset: str
    label: str
    fingerprint: str
    imbalance: Imbalance
    subset_seed: int
    holdout: int
    shots: Shots
    chain: tuple[Link, ...]
    changed: Mapping[str, Any] = field(hash=False)
    recipe: Recipe = field(hash=False)
    seed: int = 0
    trials: int = 0
    trial: int | None = None
    compared_under: str = ""

    @property
    def method(self) -> str:
        """The cell's own method."""
        return self.chain[-1].method

    @cached_property
    def row(self) -> str:
        """Identity without the seed: cells of one row differ in the seed alone."""
        tuned = [self.trials] if self.trials else []
        chain = [self._link(link) for link in self.chain]
        return digest([self._data(), self.recipe.identity(), self.shots, chain, *tuned])

    @cached_property
    def id(self) -> str:
        """Identity: a hash of everything that can change the result."""
        return digest([self.row, self.seed])

    def stage_id(self, link: int, stage: int) -> str:
        """Identity of a stage: a hash of everything up to its end that can change the network.

        Args:
            link: which method of the chain.
            stage: which of its stages.
        """
        before = [self._link(x) for x in self.chain[:link]]
        return digest(
            [
                "stage",
                self._data(),
                self.recipe.identity(),
                self.seed,
                before,
                self._link(self.chain[link]),
                stage,
            ]
        )

    def describe(self) -> dict[str, Any]:
        """The coordinates by which people know a cell; what records and plans repeat."""
        return {
            "dataset": self.label,
            "fingerprint": self.fingerprint,
            "imbalance": str(self.imbalance),
            "subset_seed": self.subset_seed,
            "holdout": self.holdout,
            "method": self.method,
            "hyperparameters": dict(self.changed),
            "recipe": self.compared_under or self.recipe.label,
            "seed": self.seed,
        } | ({"trials": self.trials} if self.trials else {})

    @property
    def entry(self) -> str:
        """The method with the hyper-parameters that differ from their defaults, or with what tuning it belongs to."""
        if self.trial is not None:
            return f"{self.method} (trial {self.trial})"
        return entry(self.method, self.changed, self.trials)

    def __str__(self) -> str:
        return f"{self.label} / {self.imbalance} / {self.entry} / seed {self.seed}"

    def _data(self) -> list[Any]:
        return [SCIENCE, self.fingerprint, str(self.imbalance), self.subset_seed, self.holdout]

    @staticmethod
    def _link(link: Link) -> list[Any]:
        return [link.method, link.source, dict(link.hyperparameters)]

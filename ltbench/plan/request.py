"""A request: what to run, as the command line or a Python call says it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltbench.data.sources import is_own
from ltbench.plan.cell import Cell, entry
from ltbench.plan.recipe import RECIPES


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A method with values that tuning chose for it at one place of a suite.

    Attributes:
        dataset, imbalance: the place, as suites write it.
        method: name.
        hyperparameters: of the method, and its ``after`` if it is not the usual one.
        recipe: changes to the suite's recipe. The results are listed under the suite's recipe all the same.
        trials: number of tuning trials that chose the values.
        trial: number of the trial that this is, while a method is being tuned.
    """

    dataset: str
    imbalance: str
    method: str
    hyperparameters: Mapping[str, Any]
    recipe: Mapping[str, Any]
    trials: int = 0
    trial: int | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Data set and imbalance."""
        return self.dataset, self.imbalance


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to run. None: as the suite says.

    Attributes:
        suite: name of a suite, or path of its file.
        methods: names, patterns, or ``NAME(KEY=VALUE, ...)``; they replace the suite's ``methods`` and ``after``.
        datasets: names.
        imbalance: ``100``, ``exp:100``, ``step:10``, ``natural``. None with ``datasets`` that are all the user's own
            (such as ``imagefolder:PATH``): ``natural``.
        seeds: training seeds.
        subset_seeds: seeds of the cut, which decide which images stay in the training set; each makes its own table.
        changes: ``recipe.epochs``, ``holdout``, ``METHOD.hyperparameter``, ... to their values.
        data: where the images of a data set are, by its name.
        methods_dirs: further folders with methods.
        recipe: name of a recipe in place of the suite's.
        as_published: whether to train each method as one of its published accuracies was obtained.
        variants: methods with chosen values, besides the suite's cells.
        without_test: remove the test split, so that no method can use it; results are of the validation split.
    """

    suite: str = "quickstart"
    methods: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    imbalance: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    subset_seeds: tuple[int, ...] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    methods_dirs: tuple[Path, ...] = ()
    recipe: str | None = None
    as_published: bool = False
    variants: tuple[Variant, ...] = ()
    without_test: bool = False

    @property
    def natural_by_default(self) -> bool:
        """Whether all images are used because only data of the user's own is named, and no imbalance."""
        return self.imbalance is None and self._only_own

    def recipe_in_place_of(self, base: str) -> str | None:
        """The recipe that images of the user's own get in place of that of the digits; None: they keep the suite's.

        Args:
            base: named recipe that the suite's recipe starts from.
        """
        if not self._only_own or self.recipe is not None or base != "digits":
            return None
        return "finetune" if self.recipe_changes.get("pretrained") else "ldam"

    @property
    def _only_own(self) -> bool:
        return self.datasets is not None and all(map(is_own, self.datasets))

    @property
    def recipe_changes(self) -> dict[str, Any]:
        """The changes to recipes, by the name of the field."""
        return {key.removeprefix("recipe."): v for key, v in self.changes.items() if key.startswith("recipe.")}

    def command(self, cell: Cell) -> str:
        """The command that repeats one cell."""
        words = ["ltbench", "run", "--suite", self.suite]
        words += ["--datasets", cell.dataset, "--imbalance", str(cell.imbalance)]
        words += ["--methods", *([cell.tuned_as, "--tuned"] if cell.trials else [entry(cell.method, cell.changed)])]
        words += ["--seeds", f"{cell.seed},"]
        words += ["--subset-seeds", f"{cell.subset_seed},"]
        words += ["--recipe", self.recipe] if self.recipe else []
        words += ["--as-published"] if self.as_published else []
        changes = {key: value for key, value in self.changes.items() if key != "subset_seed"}
        if RECIPES[cell.recipe.base].precision == "auto":  # another machine may choose otherwise
            changes["recipe.precision"] = cell.recipe.precision
        if cell.recipe.pretrained and cell.recipe.backbone != changes.get("recipe.backbone", cell.recipe.backbone):
            sizes = ("image_size", "resized_crop", "interpolation", "backbone", "pretrained")  # one backbone of several
            changes |= {f"recipe.{name}": value for name in sizes if (value := getattr(cell.recipe, name)) is not None}
        words += [w for key, value in changes.items() for w in ("--set", f"{key}={_toml(value)}")]
        words += [w for name, place in self.data.items() for w in ("--data", f"{name}={place}")]
        words += [w for folder in self.methods_dirs for w in ("--methods-dir", str(folder))]
        return shlex.join(words)


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(list(value) if isinstance(value, tuple) else value)

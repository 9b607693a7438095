"""A study as it stands: its trials, its best values, and what they say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ltbench.tuning.space import public_name, values_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


class Facts(BaseModel):
    """What decides the numbers of a study besides its trials."""

    model_config = ConfigDict(strict=True)

    suite: str
    method: str
    dataset: str
    imbalance: str
    recipe: str
    fingerprint: str
    subset_seed: int
    holdout: int
    seeds: int
    sampler_seed: int
    recipe_values: dict[str, Any]
    sources: dict[str, str]
    space: dict[str, str]
    fixed: dict[str, Any]
    knobs: dict[str, float]
    optuna: str


STARTUP = 10
"""Trials before the sampler learns from earlier ones; TPE's own number."""


@dataclass(frozen=True, eq=False)
class Study:
    """A study as it stands.

    Attributes:
        suite, method, dataset, imbalance, recipe: what it is of, as tables call it.
        trials: for each its ``number``, ``state`` (``complete``, ``pruned``, ``failed``, ``running``), ``value``
            (balanced accuracy on validation images in percent, mean over seeds; None unless complete), ``params`` (of
            the method, and ``recipe.lr`` and the like), ``seconds`` of training and ``reason`` where it failed.
        facts: see `Facts`.
    """

    name: str
    suite: str
    method: str
    dataset: str
    imbalance: str
    recipe: str
    trials: list[dict[str, Any]]
    facts: dict[str, Any]
    source: "optuna.Study"

    @property
    def best(self) -> dict[str, Any] | None:
        """The complete trial with the best value, the first of equal ones; None where there is none."""
        complete = [trial for trial in self.trials if trial["state"] == "complete"]
        return max(complete, key=lambda trial: float(trial["value"]), default=None)

    @property
    def ended(self) -> int:
        """Trials that are over, however they ended."""
        return sum(trial["state"] != "running" for trial in self.trials)

    @property
    def seconds(self) -> float:
        """Training time of all trials, each as if it had been trained from the start."""
        return float(sum(trial["seconds"] for trial in self.trials))

    def importances(self) -> dict[str, float]:
        """How much each parameter decides about good values, largest first, together 1.

        Functional ANOVA (Hutter, Hoos, Leyton-Brown: ICML 2014), as Optuna computes it; PED-ANOVA, its default, looks
        at the best tenth of the trials, which here may be one. Empty below ``STARTUP`` complete trials, and where all
        are alike.
        """
        import optuna

        if sum(trial["state"] == "complete" for trial in self.trials) < STARTUP:
            return {}
        try:
            anova = optuna.importance.FanovaImportanceEvaluator(seed=0)
            found = optuna.importance.get_param_importances(self.source, evaluator=anova)
        except (ValueError, RuntimeError):
            return {}
        return {public_name(name): float(share) for name, share in found.items() if np.isfinite(share)}

    def expected_best(self) -> list[float]:
        """The best validation value to be expected of n = 1, 2, ... trials.

        Dodge et al., Show Your Work, EMNLP 2019, equation 4: the maximum of n draws, with replacement, from the values
        that were found. A trial without a value counts as the worst one. Trials are taken for independent, which those
        after the first ``STARTUP`` are not quite.
        """
        found = sorted(float(trial["value"]) for trial in self.trials if trial["state"] == "complete")
        if not found:
            return []
        values = np.array([found[0]] * (self.ended - len(found)) + found)
        share = np.arange(len(values) + 1) / len(values)
        return [float(np.diff(share**n) @ values) for n in range(1, len(values) + 1)]


def as_dict(trial: "FrozenTrial", knobs: Mapping[str, float]) -> dict[str, Any]:
    """An Optuna trial as `Study` holds it; ``knobs`` are the recipe's own values of the shared ones."""
    own, shared = values_of(trial.params, knobs)
    recipe = {f"recipe.{name}": shared.get(name, value) for name, value in knobs.items()}
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(trial.state.name, "running")
    return {
        "number": trial.number,
        "state": state,
        "value": trial.value if state == "complete" else None,
        "params": own | recipe,
        "seconds": float(trial.user_attrs.get("seconds", 0.0)),
        "reason": trial.user_attrs.get("reason"),
    }


def as_record(study: Study) -> dict[str, Any]:
    """A study as JSON values."""
    names = ("name", "suite", "method", "dataset", "imbalance", "recipe", "trials", "facts", "best", "seconds")
    derived = {"importances": study.importances(), "expected_best": study.expected_best()}
    return {name: getattr(study, name) for name in names} | derived


def as_row(study: Study) -> dict[str, Any]:
    """A study in one row.

    Returns:
        ``suite``, ``dataset``, ``imbalance``, ``recipe``, ``method``; ``trials`` that have ended and how many of them
        ``failed``; balanced accuracy on validation images in percent of the first trial, which has the ``default``
        values, and of the ``best`` one (NaN where it is not known); the values ``chosen``, by name; ``importances``,
        which together are 1; ``seconds`` of training.
    """
    best, first = study.best or {}, study.trials[0] if study.trials else {}
    return {name: getattr(study, name) for name in ("suite", "dataset", "imbalance", "recipe", "method")} | {
        "trials": study.ended,
        "failed": sum(trial["state"] == "failed" for trial in study.trials),
        "default": float(first["value"]) if first.get("value") is not None else float("nan"),
        "best": float(best["value"]) if best else float("nan"),
        "chosen": dict(best.get("params", {})),
        "importances": study.importances(),
        "seconds": study.seconds,
    }

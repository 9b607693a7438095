"""Optuna studies on disk, one journal each: asking for trials, telling what they came to, and reading them."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltbench.errors import InputError
from ltbench.plan.cell import digest
from ltbench.results.store import Store

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

STARTUP = 10
"""Trials before the sampler learns from what came before; TPE's own number."""
KNOBS = ("lr", "weight_decay")
"""What of the recipe every method may choose."""
OCTAVES = 2
"""A knob is searched from 2^-2 to 2^2 times the recipe's value, in factors of two."""
KNOB = "log2_"

Values = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Study:
    """A study as it stands.

    Attributes:
        suite, method, dataset, imbalance, recipe: what it is of, as tables call it.
        trials: for each its ``number``, ``state`` (``complete``, ``pruned``, ``failed``, ``running``), ``value``
            (balanced accuracy on validation images in percent, mean over seeds; None unless complete), ``params`` (of
            the method, and ``recipe.lr`` and the like), ``seconds`` of training and ``reason`` where it failed.
        facts: what else decides its numbers: search space, sources, validation images, seeds, Optuna's version.
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
        return {_public(name): float(share) for name, share in found.items() if np.isfinite(share)}

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


def studies(results: Path | str) -> list[Study]:
    """All studies of a results folder, by name.

    Raises:
        InputError: for a journal that cannot be read.
    """
    folder = Path(results) / "tuning"
    journals = [Journal(folder, path.stem) for path in sorted((folder / "studies").glob("*.journal"))]
    return [journal.read() for journal in journals if journal.begun]


class Journal:
    """The file of one study.

    Args:
        folder: of all tuning.
        name: of the study and the file.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.path = folder / "studies" / f"{name}.journal"
        self.store = Store(folder)

    @property
    def begun(self) -> bool:
        """Whether it holds more than what a process had written that was killed at once."""
        return self.path.exists() and b'"facts"' in self.path.read_bytes()

    def read(self) -> Study:
        """The study as it stands; raises InputError where the file cannot be read."""
        study = self._load()
        facts = study.user_attrs["facts"]
        known = {key: str(facts[key]) for key in ("suite", "method", "dataset", "imbalance", "recipe")}
        trials = [_as_dict(trial, facts["knobs"]) for trial in whole(study, facts["space"])]
        return Study(name=self.name, trials=trials, facts=facts, source=study, **known)

    @contextlib.contextmanager
    def opened(self, facts: Mapping[str, Any], seed: int) -> Iterator["optuna.Study"]:
        """The study, made if there is none, while no other process changes it.

        Args:
            facts: what decides its numbers; they must be those it was begun with.
            seed: of the sampler.

        Raises:
            InputError: for a study that was begun with other facts, and for a file that cannot be read.
        """
        import optuna

        with self.store.locked(f"study-{self.name}"):
            self._mend()
            if not self.path.exists() or not self.path.stat().st_size:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                optuna.create_study(storage=self._storage(), study_name=self.name, direction="maximize")
            study = self._load()
            if "facts" not in study.user_attrs:  # it is new, or whoever made it was killed at once
                study.set_user_attr("facts", {**facts, "optuna": optuna.__version__})
            known = study.user_attrs["facts"]
            if other := [key for key in facts if key != "suite" and known[key] != facts[key]]:
                raise InputError(
                    f"study '{self.name}' was begun with other {' and '.join(other)} "
                    f"({_difference(known[other[0]], facts[other[0]])}); tune into another folder with --results, or "
                    f"delete {self.path} to begin it anew",
                    self.name,
                )
            study.sampler = optuna.samplers.TPESampler(
                seed=int(digest([seed, self.name, len(study.get_trials(deepcopy=False))])[:8], 16),
                n_startup_trials=STARTUP,
            )
            study.pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP // 2)
            yield study

    def _storage(self) -> "optuna.storages.JournalStorage":
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        class Held(JournalFileOpenLock):
            """We hold a lock that the system frees when we die; Optuna's own would be left behind."""

            def acquire(self) -> bool:
                return True

            def release(self) -> None: ...

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.storages.JournalStorage(JournalFileBackend(str(self.path), Held(str(self.path))))

    def _load(self) -> "optuna.Study":
        import optuna

        try:
            return optuna.load_study(study_name=self.name, storage=self._storage())
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{self.path} is no journal of a study ({reason}); delete it to begin anew") from error

    def _mend(self) -> None:
        """Take away half a line at the end, which a process left that was killed while it wrote."""
        content = self.path.read_bytes() if self.path.exists() else b"\n"
        if not content.endswith(b"\n"):
            with self.path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)


def _difference(was: Any, now: Any) -> str:
    """What differs, as it was and as it is wanted."""
    if isinstance(was, dict) and isinstance(now, dict):
        name = next(name for name in {**was, **now} if was.get(name) != now.get(name))
        return f"{name}: {was.get(name)}, now {now.get(name)}"
    return f"{was}, now {now}"


def space_of(method: Any, recipe: Any, fixed: Mapping[str, Any]) -> dict[str, "BaseDistribution"]:
    """Optuna's distributions: the knobs that are shared, and the method's own ranges but for what is fixed.

    Args:
        method: a `Method`.
        recipe: the suite's `Recipe`; a knob that is 0 in it is not searched.
        fixed: the method's hyper-parameters that were set by hand.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    from ltbench.method.contract import Choice, Range

    space: dict[str, BaseDistribution] = {
        KNOB + knob: IntDistribution(-OCTAVES, OCTAVES) for knob in KNOBS if getattr(recipe, knob)
    }
    for name, parameter in method.space().items():
        if name in fixed:
            continue
        if isinstance(parameter, Choice):
            if parameter.searched:
                space[name] = CategoricalDistribution(parameter.options)
        elif isinstance(parameter, Range):
            kind = IntDistribution if isinstance(parameter.default, int) else FloatDistribution
            space[name] = kind(parameter.low, parameter.high, log=parameter.log)
    return space


def whole(study: "optuna.Study", space: Mapping[str, Any]) -> list["FrozenTrial"]:
    """The trials that count: those that were asked for whole, by a process that was not killed in between."""
    return [trial for trial in study.get_trials(deepcopy=False) if set(trial.params) == set(space)]


def values_of(params: Mapping[str, Any], knobs: Mapping[str, float]) -> tuple[Values, Values]:
    """The method's hyper-parameters and the changes to the recipe that a trial's parameters mean.

    Args:
        params: of an Optuna trial.
        knobs: the recipe's own values of the shared ones.
    """
    own = {name: value for name, value in params.items() if not name.startswith(KNOB)}
    shared = {name: value * 2.0 ** params[KNOB + name] for name, value in knobs.items() if KNOB + name in params}
    return own, {name: value for name, value in shared.items() if value != knobs[name]}


def _public(name: str) -> str:
    return f"recipe.{name.removeprefix(KNOB)}" if name.startswith(KNOB) else name


def _as_dict(trial: "FrozenTrial", knobs: Mapping[str, float]) -> dict[str, Any]:
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


def ask(
    study: "optuna.Study", space: "Mapping[str, BaseDistribution]", defaults: Values, trials: int, abreast: int
) -> None:
    """Ask for trials until there are ``trials`` in all, after the first ``STARTUP`` only ``abreast`` at a time.

    The first trial has the defaults. The shared knobs of the next ones are drawn alike for all studies.

    Args:
        study: held by this process.
        space: what is searched.
        defaults: of all of it.
        trials: budget of the study.
        abreast: trials under way at once.
    """
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if set(trial.params) != set(space):
            study.tell(trial.number, state=TrialState.FAIL)  # its process was killed while it asked
    knobs = [name for name in space if name.startswith(KNOB)]
    grid = np.stack(np.meshgrid(*[np.arange(-OCTAVES, OCTAVES + 1)] * len(knobs)), -1).reshape(-1, len(knobs))
    points = np.random.default_rng(study.user_attrs["facts"]["sampler_seed"]).permutation(grid[grid.any(axis=1)])
    while (asked := len(found := whole(study, space))) < trials:
        if asked >= STARTUP and sum(trial.state == TrialState.RUNNING for trial in found) >= abreast:
            break
        if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)) and asked < STARTUP:
            point = dict(zip(knobs, (int(k) for k in points[(asked - 1) % len(points)]), strict=True))
            study.enqueue_trial(point if asked else defaults)
        study.ask(dict(space))


def tell(
    study: "optuna.Study", number: int, values: Sequence[float], seconds: float, reason: str, *, seeds: int
) -> None:
    """Tell what a trial has come to so far; nothing, if another process has told it.

    Args:
        study: held by this process.
        number: of the trial.
        values: validation balanced accuracy of its trainings so far, in percent.
        seconds: they took.
        reason: why one of them failed; empty if none did.
        seeds: trainings of a trial that is not pruned.
    """
    from optuna.trial import Trial, TrialState

    frozen = study.get_trials(deepcopy=False)[number]
    if frozen.state != TrialState.RUNNING or not (values or reason):
        return
    trial = Trial(study, frozen._trial_id)
    trial.set_user_attr("seconds", seconds)
    if reason:
        trial.set_user_attr("reason", reason)
        study.tell(trial, state=TrialState.FAIL)
        return
    mean = float(np.mean(values))
    if len(values) not in frozen.intermediate_values:
        trial.report(mean, len(values))
    if len(values) == seeds:
        study.tell(trial, mean)
    elif trial.should_prune():
        study.tell(trial, state=TrialState.PRUNED)


def space_as_text(space: "Mapping[str, BaseDistribution]") -> dict[str, str]:
    """A search space as a study keeps it."""
    from optuna.distributions import distribution_to_json

    return {name: json.dumps(json.loads(distribution_to_json(found))["attributes"]) for name, found in space.items()}


def as_record(study: Study) -> dict[str, Any]:
    """A study as JSON values."""
    names = ("name", "suite", "method", "dataset", "imbalance", "recipe", "trials", "facts", "best", "seconds")
    derived = {"importances": study.importances(), "expected_best": study.expected_best()}
    return {name: getattr(study, name) for name in names} | derived


def print_studies(found: Sequence[Study]) -> None:
    """Print what each method has won by its trials, and what decided it."""
    import sys

    from rich.console import Console
    from rich.table import Table

    from ltbench.show.tables import duration

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    for place in dict.fromkeys((study.dataset, study.imbalance, study.recipe) for study in found):
        table = Table("method", "trials", "defaults", "best", "expected of 1 / 5 / all", "decided by", "time", "chosen")
        of_place = [study for study in found if (study.dataset, study.imbalance, study.recipe) == place]
        for study in sorted(of_place, key=lambda one: -(one.best or {"value": -1.0})["value"]):
            curve = study.expected_best()
            failed = sum(trial["state"] == "failed" for trial in study.trials)
            table.add_row(
                study.method,
                f"{study.ended}" + (f" ({failed} failed)" if failed else ""),
                _percent(study.trials[0]["value"]),
                _percent(study.best["value"]) if study.best else "–",
                " / ".join(_percent(curve[min(n, len(curve)) - 1]) for n in (1, 5, len(curve))) if curve else "–",
                ", ".join(f"{name} {share:.0%}" for name, share in list(study.importances().items())[:2]),
                duration(study.seconds),
                _changes(study),
            )
        console.print(f"{place[0]} · imbalance {place[1]} · recipe {place[2]}", style="bold")
        console.print(table)
    console.print(
        "Balanced accuracy on validation images in %: of the defaults, of the best trial, and to be expected of the "
        "best of so many. The best values are trained anew, beside the defaults, by ltbench run --tuned.",
        style="dim",
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _changes(study: Study) -> str:
    """What the best trial has in place of the defaults, which are those of the first."""
    if study.best is None:
        return ""
    defaults = study.trials[0]["params"]
    changed = {name: value for name, value in study.best["params"].items() if value != defaults[name]}
    texts = (
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in changed.items()
    )
    return ", ".join(texts) or "the defaults"

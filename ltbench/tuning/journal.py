"""Optuna studies on disk, one journal each: opening and reading them, adding trials, and storing their values."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltbench.errors import InputError, one_line, say_once
from ltbench.plan.cell import digest
from ltbench.results.files import files_in, read_whole
from ltbench.results.store import Store
from ltbench.tuning.space import KNOB, OCTAVES, Values
from ltbench.tuning.study import STARTUP, Facts, Study, as_dict

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def studies(results: Path | str) -> list[Study]:
    """All studies of a results folder, by name; one line on stderr names each file that is none, which is skipped."""
    folder, found = Path(results) / "tuning", []
    for path in sorted(files_in(folder / "studies", ".journal")):
        journal = Journal(folder, path.stem)
        try:
            if journal.begun:
                found.append(journal.read())
        except InputError as error:
            say_once(f"skipped: {error}")
    return found


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
        """Whether a study was written to it; a process that is killed at once leaves an empty file."""
        return self.path.exists() and b'"facts"' in read_whole(self.path)

    def read(self) -> Study:
        """Read the study.

        Raises:
            InputError: when the file cannot be read.
        """
        with self._readable():
            study = self._load()
            facts = study.user_attrs["facts"]
            Facts.model_validate(facts)
            known = {key: facts[key] for key in ("suite", "method", "dataset", "imbalance", "recipe")}
            trials = [as_dict(trial, facts["knobs"]) for trial in whole(study, facts["space"])]
            return Study(name=self.name, trials=trials, facts=facts, source=study, **known)

    @contextlib.contextmanager
    def opened(self, facts: Mapping[str, Any], seed: int) -> Iterator["optuna.Study"]:
        """Open the study, or create it, while no other process changes it.

        Args:
            facts: everything that decides its numbers; they must equal those the study was created with.
            seed: of the sampler.

        Raises:
            InputError: for a study that was created with other facts, and for a file that cannot be read.
        """
        import optuna

        if self.path.is_symlink() or self.path.parent.is_symlink():
            raise InputError(f"{self.path} leads to another place; remove the link")
        with self.store.locked(f"study-{self.name}"):
            self._drop_half_line()
            if not self.path.exists() or not self.path.stat().st_size:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                optuna.create_study(storage=self._storage(), study_name=self.name, direction="maximize")
            with self._readable():
                study = self._load()
                if "facts" not in study.user_attrs:  # it is new, or the process that created it was killed
                    study.set_user_attr("facts", {**facts, "optuna": optuna.__version__})
                known = {key: study.user_attrs["facts"][key] for key in facts}
            if other := [key for key in facts if key != "suite" and known[key] != facts[key]]:
                raise InputError(
                    f"study '{self.name}' was created with other {' and '.join(other)} "
                    f"({_difference(known[other[0]], facts[other[0]])}); tune into another folder with --results, or "
                    f"delete {self.path} to start again",
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
            """Does nothing: ltbench holds a lock that the system frees when it dies; Optuna's own would stay behind."""

            def acquire(self) -> bool:
                return True

            def release(self) -> None: ...

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.storages.JournalStorage(JournalFileBackend(str(self.path), Held(str(self.path))))

    def _load(self) -> "optuna.Study":
        import optuna

        return optuna.load_study(study_name=self.name, storage=self._storage())

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """Raise InputError for a file that is not a journal."""
        try:
            yield
        except Exception as error:  # Optuna raises a different error for each kind of damage
            raise InputError(
                f"{self.path} is not a journal of a study ({one_line(error)}); delete it to start again"
            ) from error

    def _drop_half_line(self) -> None:
        """Remove an incomplete last line, left by a process that was killed while it wrote."""
        content = read_whole(self.path) if self.path.exists() else b"\n"
        if not content.endswith(b"\n"):
            with self.path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)


def _difference(was: Any, now: Any) -> str:
    """The first difference, as it was and as it is now."""
    if isinstance(was, dict) and isinstance(now, dict):
        name = next(name for name in {**was, **now} if was.get(name) != now.get(name))
        return f"{name}: {was.get(name)}, now {now.get(name)}"
    return f"{was}, now {now}"


def whole(study: "optuna.Study", space: Mapping[str, Any]) -> list["FrozenTrial"]:
    """The complete trials: those whose parameters were all written before any kill."""
    return [trial for trial in study.get_trials(deepcopy=False) if set(trial.params) == set(space)]


def ask(
    study: "optuna.Study", space: "Mapping[str, BaseDistribution]", defaults: Values, trials: int, abreast: int
) -> None:
    """Add trials until there are ``trials`` in total; after the first ``STARTUP`` only ``abreast`` at a time.

    The first trial has the defaults. The shared knobs of the next ones are the same in all studies.

    Args:
        study: opened by this process.
        space: the distributions of its parameters.
        defaults: one value for each parameter.
        trials: budget of the study.
        abreast: number of trials under way at once.
    """
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if set(trial.params) != set(space):
            study.tell(trial.number, state=TrialState.FAIL)  # its process was killed while it added the trial
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
    """Store the values of a trial so far, and end or prune it; does nothing if another process has ended it.

    Args:
        study: opened by this process.
        number: number of the trial.
        values: validation balanced accuracy of its trainings so far, in percent.
        seconds: time that they took.
        reason: why one of them failed; empty if none did.
        seeds: number of trainings of a trial that is not pruned.
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

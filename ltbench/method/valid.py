"""What a method says about itself, checked once when its file is found, so that a wrong file stops no command."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from ltbench.errors import InputError, one_line
from ltbench.method.contract import Method, Stage
from ltbench.method.published import Published
from ltbench.method.samplers import Again, graded_of
from ltbench.models.backbones import Part
from ltbench.models.classifiers import CLASSIFIERS

TEXTS = ("corrects", "eager_only", "needs_pixels")
MOST_BRANCHES = 64
MOST_STAGES = 100


def check(method: type[Method]) -> None:
    """Check the class attributes of a method, and its stages with the defaults of its hyper-parameters.

    Raises:
        InputError: for the first one that is not as the contract says. Whatever the method's code raises is part of it.
    """
    _check_attributes(method)
    try:
        made = method()
    except (Exception, SystemExit) as error:
        raise InputError(f"__init__ fails: {one_line(error)}") from error
    try:
        stages = made.stages()
    except (Exception, SystemExit) as error:
        raise InputError(f"stages() fails: {one_line(error)}") from error
    if not (isinstance(stages, list | tuple) and 0 < len(stages) <= MOST_STAGES):
        raise InputError(f"stages() returns {_shown(stages)}; return a tuple of 1 to {MOST_STAGES} stages")
    for stage in stages:
        _check_stage(stage)
        graded = any(graded_of(stream) for stream in made.streams_of(stage).values())
        if graded != (stage.strengths is not None):
            raise InputError(
                f"stage {_shown(stage.name)}: Stage(strengths=...) and a stream such as Augmented(sampler, graded=0.5) "
                "need each other"
            )


def _check_attributes(method: type[Method]) -> None:
    texts = all(isinstance(name, str) and name for name in _sequence(method.heads))
    rules: Sequence[tuple[str, bool, str]] = (
        ("classifier", _one_of(method.classifier, CLASSIFIERS), f"one of {', '.join(CLASSIFIERS)}"),
        ("heads", texts and len(set(_sequence(method.heads))) > 0, "a tuple of names of heads"),
        ("branches", _integer(method.branches) and 1 <= method.branches <= MOST_BRANCHES, f"1 to {MOST_BRANCHES}"),
        ("branches_own", _one_of(method.branches_own, get_args(Part)), f"one of {', '.join(get_args(Part))}"),
        ("branches_width", _number(method.branches_width) and method.branches_width > 0, "a number above 0"),
        ("streams", _are_streams(method.streams), "a dictionary of Stream by name, with at least one"),
        ("after", method.after is None or (isinstance(method.after, str) and bool(method.after)), "a name, or None"),
        ("double_correction", isinstance(method.double_correction, bool), "True or False"),
        ("cost", _number(method.cost) and method.cost >= 0, "a number from 0 on"),
        (
            "published",
            all(isinstance(one, Published) for one in _sequence(method.published, (None,))),
            "Published(...)",
        ),
        ("__doc__", isinstance(method.__doc__, str | None), "a text"),
        *((name, isinstance(getattr(method, name), str), "a text") for name in TEXTS),
    )
    for name, right, allowed in rules:
        if not right:
            raise InputError(f"{name} = {_shown(getattr(method, name))}; allowed: {allowed}")


def _check_stage(stage: Any) -> None:
    if not isinstance(stage, Stage):
        raise InputError(f"stages() returns {_shown(stage)} as a stage; return Stage(...)")
    rates = [value for value in (stage.lr, stage.weight_decay) if value is not None]
    rules = (
        ("name", isinstance(stage.name, str) and bool(stage.name), "a text"),
        ("epochs", _number(stage.epochs) and 0 <= stage.epochs <= 100, "a share of the recipe's epochs, 0 to 100"),
        ("streams", stage.streams is None or _are_streams(stage.streams), "a dictionary of Stream by name, or None"),
        ("lr or weight_decay", all(_number(value) and value >= 0 for value in rates), "a number from 0 on, or None"),
        ("schedule", stage.schedule in (None, "step", "cosine", "constant"), "step, cosine, constant or None"),
        (
            "average_from",
            stage.average_from is None or (_share(stage.average_from) and stage.epochs > 0),
            "a share of the stage, from 0 to below 1, or None",
        ),
        ("late_from", _share(stage.late_from), "a share of the stage, from 0 to below 1"),
        ("batch_norm", stage.batch_norm in ("train", "eval"), "train or eval"),
        ("project_after", stage.project_after in ("step", "epoch"), "step or epoch"),
        (
            "trains",
            _one_of(stage.trains, ("all", "heads")) or (bool(stage.trains) and _are_factors(stage.trains)),
            "all, heads or factors",
        ),
        (
            "loss, late_loss, gradient, project, strengths, before_epoch or finish",
            _are_functions(
                *(stage.loss, stage.late_loss, stage.gradient, stage.project),
                *(stage.strengths, stage.before_epoch, stage.finish),
            ),
            "a function, or None",
        ),
    )
    for name, right, allowed in rules:
        if not right:
            raise InputError(f"{name} of stage {_shown(stage.name)} is not allowed; give {allowed}")


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value < 1


def _are_streams(value: Any) -> bool:
    named = isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    return named and len(value) > 0 and all(callable(stream) or isinstance(stream, Again) for stream in value.values())


def _are_factors(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and _number(v) for k, v in value.items())


def _are_functions(*values: Any) -> bool:
    return all(value is None or callable(value) for value in values)


def _one_of(value: Any, allowed: Any) -> bool:
    return isinstance(value, str) and value in allowed


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _sequence(value: Any, otherwise: Sequence[Any] = ()) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else otherwise


def _shown(value: Any) -> str:
    """A value in one short line; its type where it cannot be printed."""
    try:
        return " ".join(repr(value).split())[:60]
    except Exception:
        return f"a {type(value).__name__}"

"""ltbench: an honest, fast benchmark of long-tailed image-classification methods.

The names below are loaded when they are first used, so that ``import ltbench`` costs milliseconds: torch, pandas and
scipy are imported only by what needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import ltbench.loaded  # noqa: F401  # before any other module

__version__ = "0.2.0"

_HOME = {
    "Again": "ltbench.method.samplers",
    "Augmented": "ltbench.method.samplers",
    "AuxiliaryLearning": "ltbench.method.auxiliary",
    "Batch": "ltbench.method.contract",
    "Choice": "ltbench.method.hyperparameters",
    "Clock": "ltbench.method.contract",
    "Decoupled": "ltbench.method.decoupled",
    "Features": "ltbench.method.contract",
    "LossOf": "ltbench.method.contract",
    "Method": "ltbench.method.contract",
    "PastedMinority": "ltbench.method.pasting",
    "Published": "ltbench.method.published",
    "Range": "ltbench.method.hyperparameters",
    "SharpnessAware": "ltbench.method.sharpness",
    "Stage": "ltbench.method.contract",
    "Trial": "ltbench.method.contract",
    "Network": "ltbench.models",
    "class_balanced": "ltbench.method.samplers",
    "deferred": "ltbench.method.samplers",
    "frequency_power": "ltbench.method.samplers",
    "instance_balanced": "ltbench.method.samplers",
    "progressively_balanced": "ltbench.method.samplers",
    "InputError": "ltbench.errors",
    "leaderboard": "ltbench.results.leaderboard",
    "load_results": "ltbench.results.leaderboard",
    "run": "ltbench.api.run",
    "tune": "ltbench.api.run",
    "compare": "ltbench.api.results",
    "confusion": "ltbench.api.results",
    "curves": "ltbench.api.results",
    "logits": "ltbench.api.results",
    "report": "ltbench.api.results",
}
__all__ = [
    "Again",
    "Augmented",
    "AuxiliaryLearning",
    "Batch",
    "Choice",
    "Clock",
    "Decoupled",
    "Features",
    "InputError",
    "LossOf",
    "Method",
    "Network",
    "PastedMinority",
    "Published",
    "Range",
    "SharpnessAware",
    "Stage",
    "Trial",
    "__version__",
    "class_balanced",
    "compare",
    "confusion",
    "curves",
    "deferred",
    "frequency_power",
    "instance_balanced",
    "leaderboard",
    "load_results",
    "logits",
    "progressively_balanced",
    "report",
    "run",
    "tune",
]

if TYPE_CHECKING:
    from ltbench.api.results import compare, confusion, curves, logits, report
    from ltbench.api.run import run, tune
    from ltbench.errors import InputError
    from ltbench.method.auxiliary import AuxiliaryLearning
    from ltbench.method.contract import Batch, Clock, Features, LossOf, Method, Stage, Trial
    from ltbench.method.decoupled import Decoupled
    from ltbench.method.hyperparameters import Choice, Range
    from ltbench.method.pasting import PastedMinority
    from ltbench.method.published import Published
    from ltbench.method.samplers import (
        Again,
        Augmented,
        class_balanced,
        deferred,
        frequency_power,
        instance_balanced,
        progressively_balanced,
    )
    from ltbench.method.sharpness import SharpnessAware
    from ltbench.models import Network
    from ltbench.results.leaderboard import leaderboard, load_results


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ltbench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

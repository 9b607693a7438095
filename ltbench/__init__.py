"""ltbench: an honest, fast benchmark of long-tailed image-classification methods.

The names below are loaded when they are first used, so that ``import ltbench`` costs nothing: torch, pandas and scipy
are imported only by what needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Again": "ltbench.samplers",
    "AuxiliaryLearning": "ltbench.auxiliary",
    "Batch": "ltbench.method",
    "Choice": "ltbench.method",
    "Clock": "ltbench.method",
    "Decoupled": "ltbench.decoupled",
    "Features": "ltbench.method",
    "Figure": "ltbench.method",
    "Method": "ltbench.method",
    "Range": "ltbench.method",
    "Stage": "ltbench.method",
    "Network": "ltbench.models",
    "class_balanced": "ltbench.samplers",
    "deferred": "ltbench.samplers",
    "frequency_power": "ltbench.samplers",
    "instance_balanced": "ltbench.samplers",
    "progressively_balanced": "ltbench.samplers",
    "InputError": "ltbench.errors",
    "leaderboard": "ltbench.frames",
    "load_results": "ltbench.frames",
    "run": "ltbench.api",
}
__all__ = [
    "Again",
    "AuxiliaryLearning",
    "Batch",
    "Choice",
    "Clock",
    "Decoupled",
    "Features",
    "Figure",
    "InputError",
    "Method",
    "Network",
    "Range",
    "Stage",
    "__version__",
    "class_balanced",
    "deferred",
    "frequency_power",
    "instance_balanced",
    "leaderboard",
    "load_results",
    "progressively_balanced",
    "run",
]

if TYPE_CHECKING:
    from ltbench.api import run
    from ltbench.auxiliary import AuxiliaryLearning
    from ltbench.decoupled import Decoupled
    from ltbench.errors import InputError
    from ltbench.frames import leaderboard, load_results
    from ltbench.method import Batch, Choice, Clock, Features, Figure, Method, Range, Stage
    from ltbench.models import Network
    from ltbench.samplers import (
        Again,
        class_balanced,
        deferred,
        frequency_power,
        instance_balanced,
        progressively_balanced,
    )


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ltbench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

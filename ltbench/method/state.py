"""The state of a process that results of other methods depend on, and which of it a method changed."""

import contextlib
import functools
import random
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch

from ltbench.errors import InputError
from ltbench.randomness import ALONE, gpus

BACKENDS: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("torch.backends.cudnn", torch.backends.cudnn, ("enabled", "benchmark", "deterministic", "allow_tf32")),
    ("torch.backends.mkldnn", torch.backends.mkldnn, ("enabled",)),
    ("torch.backends.cuda.matmul", torch.backends.cuda.matmul, ("allow_tf32",)),
)
FUNCTIONS: tuple[tuple[str, ModuleType | type], ...] = (
    ("torch", torch),
    ("torch.Tensor", torch.Tensor),
    ("torch.nn.functional", torch.nn.functional),
    ("torch.nn.init", torch.nn.init),
)
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch.get_num_threads()": (torch.get_num_threads, torch.set_num_threads),
    "torch.get_default_dtype()": (torch.get_default_dtype, torch.set_default_dtype),
    "torch.is_grad_enabled()": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch.are_deterministic_algorithms_enabled()": (
        torch.are_deterministic_algorithms_enabled,
        lambda on: torch.use_deterministic_algorithms(on, warn_only=True),
    ),
    "torch.get_float32_matmul_precision()": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
}
GENERATORS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch's global generator": (torch.get_rng_state, torch.set_rng_state),
    "numpy's global generator": (np.random.get_state, np.random.set_state),
    "Python's global generator": (random.getstate, random.setstate),
}


def _global_generators() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """How to read and to set the state of every global generator, those of GPUs once CUDA is used; none waits."""
    found = dict(GENERATORS)
    for i in gpus():
        device = torch.device("cuda", i)
        found[f"the global generator of cuda:{i}"] = (
            functools.partial(torch.cuda.get_rng_state, device=device),
            functools.partial(torch.cuda.set_rng_state, device=device),
        )
    return found


class Guard:
    """Compares the state of this process with that of the moment when this object was made.

    Attributes:
        changes: what was found changed so far, in words; each was put back.
    """

    def __init__(self) -> None:
        self.changes: list[str] = []
        self.comparing = threading.Lock()
        self.settings = {name: get() for name, (get, _) in SETTINGS.items()}
        self.flags = {(i, flag): getattr(at, flag) for i, (_, at, flags) in enumerate(BACKENDS) for flag in flags}
        with ALONE:  # a thread that draws from torch's generator puts it back afterwards
            self.generators = {name: get() for name, (get, _) in _global_generators().items()}
        self.functions = [{name: f for name, f in vars(at).items() if callable(f)} for _, at in FUNCTIONS]

    def changed_since(self, noted: int) -> str:
        """Find and put back what changed; everything found since the first ``noted`` changes, empty where nothing."""
        with self.comparing:
            self.changes.extend([*self._settings(), *self._flags(), *self._generators(), *self._functions()])
            return "; ".join(self.changes[noted:])

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Around the import of a method: put back what it changes.

        Raises:
            InputError: when it changed anything.
        """
        noted = len(self.changes)
        try:
            yield
        finally:
            changed = self.changed_since(noted)
        if changed:
            raise InputError(f"its import changed {changed}; other methods would give other numbers after it")

    def _settings(self) -> list[str]:
        found = []
        for name, (get, put) in SETTINGS.items():
            if (now := get()) != (was := self.settings[name]):
                put(was)
                found.append(f"{name} from {was} to {now}")
        return found

    def _flags(self) -> list[str]:
        found = []
        for (i, flag), was in self.flags.items():
            name, at, _ = BACKENDS[i]
            if (now := getattr(at, flag)) != was:
                with contextlib.suppress(RuntimeError):  # torch refuses where flags were frozen
                    setattr(at, flag, was)
                found.append(f"{name}.{flag} from {was} to {now}")
        return found

    def _generators(self) -> list[str]:
        moved = []
        with ALONE:
            for name, (get, put) in _global_generators().items():
                now = get()
                was = self.generators.setdefault(name, now)
                if not _same(now, was):
                    put(was)
                    moved.append(name)
        return moved

    def _functions(self) -> list[str]:
        found = []
        for (where, at), functions in zip(FUNCTIONS, self.functions, strict=True):
            now = vars(at)
            for name, function in functions.items():
                if now.get(name) is not function and not _wrapped_by_torch(now.get(name), name):
                    setattr(at, name, function)
                    found.append(f"the function {where}.{name}")
        return found


def _same(one: Any, other: Any) -> bool:
    """Whether two states of a generator are equal."""
    if isinstance(one, tuple):
        return all(map(_same, one, other))
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray | torch.Tensor) else bool(one == other)


def _wrapped_by_torch(function: object, name: str) -> bool:
    """Whether torch itself put a function in place of its own of this name, as it does when a part is imported late."""
    of_torch = str(getattr(function, "__globals__", {}).get("__name__", "")).startswith("torch.")
    return of_torch and getattr(function, "__name__", "") == name

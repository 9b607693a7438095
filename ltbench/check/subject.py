"""What a check is given, and what it answers."""

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ltbench.errors import InputError, one_line
from ltbench.method.contract import Method
from ltbench.method.registry import Registry


@dataclass(frozen=True)
class Outcome:
    """The answer of a check, with one line that says why; ``not applicable`` where there is nothing to check."""

    status: Literal["passed", "failed", "not applicable"]
    why: str = ""


class Broken(InputError):
    """The contract is broken; the message says how, in one line."""


class NotApplicable(Exception):
    """There is nothing to check; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A method under examination.

    Attributes:
        name: of the method.
        file: that defines it.
        chain: the methods that are trained one after another for it, itself the last.
        device: for the checks that tell more on a GPU; all others run on the CPU.
    """

    name: str
    file: Path
    chain: tuple[type[Method], ...]
    device: torch.device

    @classmethod
    def of(cls, registry: Registry, name: str, device: torch.device) -> "Subject":
        """A method of the registry.

        Raises:
            InputError: where a method that it comes after does not exist.
        """
        chain = tuple(entry.method for entry, _ in registry.chain(name, {}))
        return cls(name, registry[name].file, chain, device)

    @property
    def method(self) -> type[Method]:
        """Its class."""
        return self.chain[-1]

    def described(self, error: BaseException) -> str:
        """An error that the method's code raised, in one line, with the last line of its file that was run."""
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == self.file]
        return one_line(error) + (f" ({self.file.name}, line {lines[-1]})" if lines else "")

"""The method that a check examines, and the outcome of a check."""

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ltbench.check.problem import EASY, TINY, Problem, suited
from ltbench.errors import InputError, one_line
from ltbench.method.contract import Method
from ltbench.method.registry import Registry


@dataclass(frozen=True)
class Outcome:
    """The outcome of a check, with one line that gives the reason or a remark.

    The status is ``not applicable`` where there is nothing to check.
    """

    status: Literal["passed", "failed", "not applicable"]
    why: str = ""


class Broken(InputError):
    """The method breaks the contract; the message says how, in one line."""


class NotApplicable(Exception):
    """There is nothing to check; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A method under examination.

    Attributes:
        name: of the method.
        file: the file that defines the method.
        chain: the methods that are trained one after another; the examined one is the last.
        device: for the checks that test more on a GPU; all others run on the CPU.
    """

    name: str
    file: Path
    chain: tuple[type[Method], ...]
    device: torch.device

    @classmethod
    def of(cls, registry: Registry, name: str, device: torch.device) -> "Subject":
        """A method of the registry.

        Raises:
            InputError: when a method of its chain does not exist.
        """
        chain = tuple(entry.method for entry, _ in registry.chain(name, {}))
        return cls(name, registry[name].file, chain, device)

    @property
    def method(self) -> type[Method]:
        """The class of the method."""
        return self.chain[-1]

    @property
    def tiny(self) -> Problem:
        """The problem of three steps per epoch."""
        return suited(TINY, self.chain)

    @property
    def easy(self) -> Problem:
        """The problem with enough training to learn the rare classes."""
        return suited(EASY, self.chain)

    def described(self, error: BaseException) -> str:
        """An error that the method's code raised, in one line, with the line of the method's file where it happened."""
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == self.file]
        return one_line(error) + (f" ({self.file.name}, line {lines[-1]})" if lines else "")

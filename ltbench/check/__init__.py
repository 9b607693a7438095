"""The contract tests: the requirements on every method, built-in or not, as named checks."""

from ltbench.check.checks import CHECKS, Check, examine, unusable
from ltbench.check.subject import Outcome, Subject

__all__ = ["CHECKS", "Check", "Outcome", "Subject", "examine", "unusable"]

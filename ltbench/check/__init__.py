"""The contract tests: what every method must keep, built-in or not, as named checks on one method."""

from ltbench.check.checks import CHECKS, Check, examine, unusable
from ltbench.check.subject import Outcome, Subject

__all__ = ["CHECKS", "Check", "Outcome", "Subject", "examine", "unusable"]

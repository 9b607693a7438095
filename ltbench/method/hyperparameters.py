"""Hyper-parameters of a method: each is a class attribute with its default and the values that tuning tries."""

import math
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar, overload

T = TypeVar("T")
Number = TypeVar("Number", bound=float)


class Configured(Protocol):
    """An object with values of hyper-parameters: a `Method`."""

    hyperparameters: dict[str, Any]


class Hyperparameter(Generic[T]):
    """A class attribute of a method: on the class it gives this description, on an instance its value."""

    name: str

    def __init__(self, default: T) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, method: None, owner: type) -> "Hyperparameter[T]": ...
    @overload
    def __get__(self, method: Configured, owner: type) -> T: ...
    def __get__(self, method: Configured | None, owner: type) -> "Hyperparameter[T] | T":
        if method is None:
            return self
        value: T = method.hyperparameters[self.name]
        return value

    def check(self, value: Any) -> T:
        """Convert a value to the type of this hyper-parameter.

        Raises:
            ValueError: for a value that is not allowed; the message says what is allowed.
        """
        raise NotImplementedError


class Range(Hyperparameter[Number]):
    """A number, for example ``gamma = Range(1.0, 0.25, 3.0)``.

    Args:
        default: the value without tuning. An ``int`` makes it an integer.
        low, high: the range in which tuning searches. Users may set any finite number, also outside of it.
        log: search on a logarithmic scale.
    """

    def __init__(self, default: Number, low: Number, high: Number, *, log: bool = False) -> None:
        super().__init__(default)
        if not low <= default <= high or (log and low <= 0):
            raise ValueError(f"the default {default} must be in [{low}, {high}], and low above 0 on a log scale")
        self.low: Number = low
        self.high: Number = high
        self.log = log

    def check(self, value: Any) -> Number:  # noqa: D102
        kind = type(self.default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"give a finite number (tuning searches in [{self.low}, {self.high}])")
        if kind is int and value != int(value):
            raise ValueError("give an integer")
        return kind(value)


class Choice(Hyperparameter[T]):
    """One of a few values, for example ``metric = Choice("l2", ("l2", "cosine"))``.

    Args:
        default: the value without tuning.
        options: the allowed values.
        searched: whether tuning tries them. Set it to False where a value needs validation images in the final run.
    """

    def __init__(self, default: T, options: Sequence[T], *, searched: bool = True) -> None:
        super().__init__(default)
        self.options = tuple(options)
        self.searched = searched
        if default not in self.options:
            raise ValueError(f"the default {default!r} must be one of {self.options}")

    def check(self, value: Any) -> T:  # noqa: D102
        if value not in self.options:
            raise ValueError(f"give one of {', '.join(map(str, self.options))}")
        found: T = value
        return found

"""Entries: how suites and ``--methods`` write a method: ``NAME``, ``NAME(KEY=VALUE, ...)``. Needs no torch."""

import tomllib
from collections.abc import Mapping
from typing import Any

from ltbench.errors import InputError

AFTER = "after"
"""The key of an entry that names the method it continues from; its value is an entry."""
DOUBLE = "double_correction"
"""The key of an entry that allows a second correction of the class prior."""


def parse_value(text: str) -> Any:
    """The value of ``KEY=VALUE``: as TOML writes it, else the text itself.

    Raises:
        InputError: for a text of several lines, and for an integer of more than 64 bits.
    """
    if not text.isprintable():
        raise InputError(
            f"the value {text!r} has a line break or another control character; write it on one line", text
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # no TOML, an integer of thousands of digits, or brackets too deep
        return text
    check_integers(value)
    return value


def check_integers(value: Any) -> None:
    """Raises InputError where a value of TOML has an integer of more than 64 bits, which nothing can compute with."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            check_integers(part)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InputError(f"the integer {str(value)[:20]}… is too large; at most {2**63 - 1} is allowed")


def parse_entry(text: str) -> tuple[str, dict[str, Any]]:
    """The name or pattern of an entry, and its values.

    Raises:
        InputError: for a text that is not an entry.
    """
    name, bracket, rest = text.strip().partition("(")
    parts = _parts(rest.removesuffix(")")) if bracket else []
    pairs = [(key.strip(), value.strip()) for key, _, value in (part.partition("=") for part in parts)]
    closed = rest.endswith(")") if bracket else ")" not in name
    if not (name.strip() and closed and all(key and value for key, value in pairs)):
        raise InputError(f"method entry '{text}' is not understood; write NAME or NAME(KEY=VALUE, ...)", text)
    return name.strip(), {key: parse_value(value) for key, value in pairs}


def written(name: str, values: Mapping[str, Any]) -> str:
    """An entry as text: ``aux_random(weight=0.5)``."""
    pairs = [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()]
    return name + (f"({', '.join(pairs)})" if pairs else "")


def of_chain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values of an entry that are not hyper-parameters."""
    return {key: value for key, value in values.items() if key in (AFTER, DOUBLE)}


def _parts(text: str) -> list[str]:
    """The parts of a text between commas outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts

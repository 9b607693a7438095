"""What a method looks at: the batches and features that it is given, and no data of its own."""

import ast
from collections.abc import Iterator
from pathlib import Path

from ltbench.check.subject import Broken, Subject
from ltbench.method.source import Code, Scope

MODULES = {
    "ltbench.data": "reads data sets",
    "ltbench.engine": "holds the images of a run",
    "ltbench.plan": "reads data sets",
    "ltbench.results": "reads results",
    "ltbench.runner": "holds the images of a run",
    "datasets": "reads data sets",
    "torchvision.datasets": "reads data sets",
    "sklearn.datasets": "reads data sets",
    "gc": "finds every object of the process",
    "inspect": "finds the variables of its callers",
}
"""Modules that a method has no use for, each with what it would see through them."""
CALLS = {
    "open": "reads files",
    "load": "reads files",
    "fromfile": "reads files",
    "read_bytes": "reads files",
    "read_text": "reads files",
    "_getframe": "finds the variables of its callers",
    "get_objects": "finds every object of the process",
}
"""The same for functions and methods, by the last part of their name."""


def sight(subject: Subject) -> str:
    """The file reads no data and searches no objects: a method sees batches and features, and nothing else."""
    beside = Code(Scope(subject.file.parent)).neighbours(subject.file.stem)
    for file in (subject.file, *sorted(beside.values())):
        for line, what in _seen(file):
            raise Broken(
                f"{what} ({file.name}, line {line}); a method may use the batches and features it is given only"
            )
    return ""


def _seen(file: Path) -> Iterator[tuple[int, str]]:
    """The first line of a file, with what it uses, where a method sees more than it is given."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        for name in _imported(node):
            for module, what in MODULES.items():
                if f"{name}.".startswith(f"{module}."):
                    yield node.lineno, f"{module} {what}"  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in CALLS:
                yield node.lineno, f"{name}() {CALLS[name]}"


def _imported(node: ast.AST) -> list[str]:
    """The modules, and names of modules, that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []

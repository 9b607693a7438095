"""One module taken apart: the statements of each top-level name, in a form that comments and layout do not change.

The form is the same under every Python version that ltbench supports, which that of `ast.dump` is not.
"""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

UNUSED_FIELDS = ("ctx", "kind", "type_comment")
"""Fields of syntax nodes that follow from the rest, or change nothing."""
UNUSED_ATTRIBUTES = ("published",)
"""Attributes of classes that cannot change a number: `Method.published` is shown beside results."""
Chain = tuple[str, ...]
"""A name with the attributes taken of it: ``a.b.c`` is ``("a", "b", "c")``."""


class Import(NamedTuple):
    """One name that an import statement binds.

    Attributes:
        local: the name here; ``*`` for all names of the module.
        module: as written, without leading dots.
        name: of the module, that is bound; empty: the module itself.
        level: number of leading dots.
    """

    local: str
    module: str
    name: str
    level: int


@dataclass(frozen=True)
class Piece:
    """The statements that belong together, such as all that define one name.

    Attributes:
        text: their syntax, without comments and docstrings.
        uses: every name in them.
        imports: made inside them, as in the body of a function.
    """

    text: str
    uses: frozenset[Chain]
    imports: tuple[Import, ...]


@dataclass(frozen=True)
class Syntax:
    """A module.

    Attributes:
        definitions: the statements that define each top-level name.
        effects: statements that do something when the module is imported, such as ``TABLE.update(...)`` and ``if``.
        imports: at the top level, also for type checkers only.
        executed: those of them that run when the module is imported.
    """

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    executed: list[Import] = field(default_factory=list)
    _pieces: dict[str, Piece] = field(default_factory=dict)

    def piece(self, name: str) -> Piece:
        """The piece that defines a name; the name "" is that of the module's effects."""
        if name not in self._pieces:
            statements = self.definitions[name] if name else self.effects
            self._pieces[name] = Piece(
                canonical(statements),
                frozenset(chain for statement in statements for chain in _chains(statement)),
                tuple(found for statement in statements for found in _imports_in(statement)),
            )
        return self._pieces[name]

    @functools.cached_property
    def all_imports(self) -> frozenset[Import]:
        """Imports at the top level and inside functions."""
        inside = (_imports_in(statement) for statements in self.definitions.values() for statement in statements)
        return frozenset(self.imports).union(*inside)


@functools.lru_cache(maxsize=2048)
def parse(content: bytes) -> Syntax:
    """A module's content, taken apart. Of content that Python does not understand everything counts as one effect."""
    syntax = Syntax()
    try:
        statements = ast.parse(content).body
    except (SyntaxError, ValueError):
        statements = [ast.Raise(exc=ast.Constant(value=content))]
    for statement in statements:
        _add(syntax, statement)
    return syntax


def _add(syntax: Syntax, statement: ast.stmt) -> None:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        found = list(_imports_in(statement))
        syntax.imports.extend(found)
        syntax.executed.extend(found)
    elif isinstance(statement, ast.If) and ast.unparse(statement.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        syntax.imports.extend(found for inner in statement.body for found in _imports_in(inner))
        for inner in statement.orelse:
            _add(syntax, inner)
    elif names := _defined(statement, syntax):
        if isinstance(statement, ast.ClassDef):
            statement.body = [inner for inner in statement.body if not _is_unused(inner)]
        for name in names:
            syntax.definitions.setdefault(name, []).append(statement)
    elif not _is_docstring(statement):
        syntax.effects.append(statement)
        syntax.imports.extend(_imports_in(statement))
        syntax.executed.extend(_imports_in(statement))


def _defined(statement: ast.stmt, syntax: Syntax) -> list[str]:
    """The names that a simple statement defines; empty where it does anything else."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = [part for t in statement.targets for part in (t.elts if isinstance(t, ast.Tuple) else [t])]
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        targets = [statement.target] if statement.target.id in syntax.definitions else []
    elif type(statement).__name__ == "TypeAlias":  # since Python 3.12
        targets = [statement.name]  # type: ignore[attr-defined]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names if len(names) == len(targets) else []


def assigned(statement: ast.stmt) -> list[str]:
    """The names that an assignment in a class body sets; empty for any other statement."""
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    return []


def _is_unused(statement: ast.stmt) -> bool:
    """Whether a statement in a class body sets nothing but attributes that cannot change a number."""
    names = assigned(statement)
    return bool(names) and set(names) <= set(UNUSED_ATTRIBUTES)


def canonical(node: Any) -> str:
    """The syntax of nodes as text. Strings that are statements (docstrings), positions and empty fields are skipped."""
    out: list[str] = []
    _write(node, out)
    return "".join(out)


def _write(node: Any, out: list[str]) -> None:
    if isinstance(node, ast.Constant):
        out.append(ascii(node.value))
    elif isinstance(node, ast.JoinedStr):
        out.append("JoinedStr")
        _write(_joined(node), out)
    elif isinstance(node, ast.AST):
        out.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if name in UNUSED_FIELDS or value is None or value == [] or (name == "format_spec" and not _joined(value)):
                continue
            out.append(f" {name}=")
            _write(value, out)
        out.append(")")
    elif isinstance(node, list):
        out.append("[")
        for item in node:
            if not _is_docstring(item):
                _write(item, out)
                out.append(",")
        out.append("]")
    else:
        out.append(ascii(node))


def _joined(node: ast.JoinedStr) -> list[ast.expr]:
    """The parts of an f-string, with neighbouring texts as one: how they are divided depends on the Python version."""
    parts: list[ast.expr] = []
    for part in node.values:
        last = parts[-1] if parts else None
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            parts[-1] = ast.Constant(value=f"{last.value!s}{part.value!s}")
        elif not isinstance(part, ast.Constant) or part.value:
            parts.append(part)
    return parts


def _is_docstring(node: Any) -> bool:
    """Whether it is a string as a statement, which does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imports_in(statement: ast.AST) -> Iterator[Import]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield Import(alias.asname, alias.name, "", 0) if alias.asname else Import(top, top, "", 0)
                if not alias.asname and top != alias.name:  # the module that is run; it is used as an attribute
                    yield Import("", alias.name, "", 0)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(alias.asname or alias.name, node.module or "", alias.name, node.level)


def _chains(node: ast.AST) -> Iterator[Chain]:
    """All names in a statement, each with the attributes taken of it."""
    if isinstance(node, ast.Attribute | ast.Name):
        attributes: list[str] = []
        base: ast.AST = node
        while isinstance(base, ast.Attribute):
            attributes.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            yield (base.id, *reversed(attributes))
            return
        node = base
    for child in ast.iter_child_nodes(node):
        yield from _chains(child)

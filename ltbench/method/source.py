"""The source code that a result depends on, in pieces, each with a hash: what is stale after which edit.

A piece is a top-level name of a module: a function, a class or a constant. It depends on every name that it uses, in
its body, bases, decorators, defaults and annotations, through imports and re-exports, in `ltbench` and in the folder of
the method's file; so does each piece that it depends on. Other packages are not followed. What cannot be resolved
counts as its whole module: a module that is passed on, as in ``getattr(module, name)``, or a name that its module does
not define. A local variable counts as a use of the top-level name that it shares.

Modules are read and parsed, never imported.
"""

import functools
import hashlib
import importlib.machinery
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ltbench import loaded
from ltbench.method.syntax import Chain, Import, Piece, Syntax, parse

PACKAGE = Path(__file__).parent.parent
BUILTIN = next(p for p in (PACKAGE / "methods", PACKAGE.parent / "methods") if p.is_dir())
ENGINE = {
    "ltbench.runner.one_cell.run_cell": "trains the stages of a cell and measures the last one",
    "ltbench.data.images.cut": "chooses the training images",
    "ltbench.engine.frozen.compute": "computes features of frozen backbones",
    "ltbench.engine.frozen.frozen": "puts them in place of images",
    "ltbench.engine.process.prepare": "settings of a process that change how numbers are rounded",
    "ltbench.data.official.CIFAR_MEAN": "normalisation: the fingerprint of a data set covers pixels and labels only",
    "ltbench.data.official.CIFAR_STD": "the same",
}
"""The pieces that every method's results depend on, with all that they depend on themselves, each with the reason."""
NOT_COUNTED = {
    "ltbench.errors": "messages",
    "ltbench.plan.cell": "identities: what can change a result is in them",
    "ltbench.plan.recipe.FAMILIES": "recipes of the published accuracies that are shown beside results",
    "ltbench.plan.recipe.RECIPES": "the values of a recipe are in the identity",
    "ltbench.results.record": "the form in which numbers are stored",
    "ltbench.results.store": "files and locks",
    "ltbench.runner.checkpoint": "files",
    "ltbench.runner.environment": "versions and devices, which are stored and change no number",
}
"""Modules and pieces that cannot change a number, each with the reason."""

ADDED_TO_PATH: set[str] = set()
"""Folders of method files that were added to ``sys.path``."""


def short_hash(text: str) -> str:
    """Twelve hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Found(NamedTuple):
    """What a name stands for.

    Attributes:
        module: dotted name.
        name: a top-level name; ``*``: the module itself; ``?``: anything in it; empty: what it does when it is
            imported.
        outside: whether the module is of another package, which is not followed.
    """

    module: str
    name: str
    outside: bool = False

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


class Scope(NamedTuple):
    """Where modules are looked for.

    Attributes:
        folder: of a method's file; its other modules are found too.
        only: the one package that is looked for there, as in the folder of installed packages; empty: any.
        package: the folder of ltbench.
    """

    folder: Path | None = None
    only: str = ""
    package: Path = PACKAGE

    def find(self, module: str) -> Path | None:
        """The file of a module, or the folder of a package without one; None for a module of another package."""
        top, *rest = module.split(".")
        if top == "ltbench":
            at = self.package.joinpath(*rest)
        elif self.folder is not None and self.only in ("", top) and top and top not in sys.stdlib_module_names:
            at = self.folder.joinpath(top, *rest)
        else:
            return None
        places = (at / "__init__.py", at.with_name(f"{at.name}.py"))
        return next((file for file in places if file.is_file()), at if at.is_dir() else None)

    @classmethod
    def installed(cls, module: str, file: Path) -> "Scope":
        """The scope of a module of an installed package, whose other modules are found too."""
        names = module.split(".")
        folder = file.parents[len(names) if file.name == "__init__.py" else len(names) - 1]
        return cls(folder, names[0])


class Code:
    """The source code in a scope, each file as it was when it was first needed.

    Args:
        scope: where modules are looked for.
        read: reads a file; `ltbench.loaded.read` where hashes become part of identities.
    """

    def __init__(self, scope: Scope, read: Callable[[Path], bytes] = Path.read_bytes) -> None:
        self.scope, self._read = scope, read
        self._files: dict[str, Path | None] = {}
        self._syntax: dict[str, Syntax] = {}
        self._names: dict[tuple[str, str], frozenset[Found]] = {}
        self._open: set[tuple[str, str]] = set()
        self._effects: dict[str, frozenset[Found]] = {}
        self._known: dict[Found, tuple[str, set[Found]]] = {}

    def pieces(self, roots: Iterable[Found]) -> dict[str, str]:
        """The hash of every piece that these depend on, themselves included, by name."""
        hashes: dict[Found, str] = {}
        todo = list(roots)
        while todo:
            piece = todo.pop()
            if piece in hashes or piece.outside or piece.module in NOT_COUNTED or str(piece) in NOT_COUNTED:
                continue
            if piece.name in ("*", "?"):
                todo += self._everything(piece.module)
                hashes[piece] = ""
                continue
            hashes[piece], needed = self._examined(piece)
            todo += needed
        return dict(sorted((str(piece), value) for piece, value in hashes.items() if value))

    def hash_of(self, name: str) -> str | None:
        """The hash of a piece, by the name that ``pieces`` gave it; None where it does not exist any more."""
        found = self._piece(name)
        return None if found is None else self._examined(found)[0]

    def run_with(self, name: str) -> frozenset[str]:
        """The modules that do more than define names when the module of a piece is imported."""
        found = self._piece(name)
        return frozenset() if found is None else frozenset(map(str, self._run_by(found.module)))

    def _piece(self, name: str) -> Found | None:
        """A piece by its name; None where it does not exist."""
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            module, rest = ".".join(parts[:end]), ".".join(parts[end:])
            syntax = self._parsed(module)
            if syntax is not None and (rest in syntax.definitions or (not rest and syntax.effects)):
                return Found(module, rest)
        return None

    def neighbours(self, module: str) -> dict[str, Path]:
        """The modules beside a method's file that it imports, directly or through each other, by their first name."""
        found: dict[str, Path] = {}
        todo, seen = [module], set[str]()
        while todo:
            if (current := todo.pop()) in seen or (syntax := self._parsed(current)) is None:
                continue
            seen.add(current)
            for imported in syntax.all_imports:
                for name in self._modules_of(current, imported):
                    top = name.partition(".")[0]
                    if top != "ltbench" and (file := self._file(top)) is not None:
                        found[top] = file
                        todo.append(name)
        return {top: file for top, file in found.items() if top != module}

    def _file(self, module: str) -> Path | None:
        if module not in self._files:
            self._files[module] = self.scope.find(module) if module else self.scope.folder
        return self._files[module]

    def _parsed(self, module: str) -> Syntax | None:
        """A module's syntax; None for a module of another package."""
        if module not in self._syntax:
            file = self._file(module)
            if file is None:
                return None
            self._syntax[module] = Syntax() if file.is_dir() else parse(self._read(file))
        return self._syntax[module]

    def _examined(self, found: Found) -> tuple[str, set[Found]]:
        """The hash of a piece, and what it depends on. The hash covers what each name in it stands for."""
        if found in self._known:
            return self._known[found]
        syntax = self._parsed(found.module)
        assert syntax is not None, found
        piece = syntax.piece(found.name)
        needed, meanings = set[Found](), []
        for chain in sorted(piece.uses):
            if meant := self._meant(found.module, chain, piece):
                outside = all(one.outside for one in meant)
                used = chain[0] if outside else ".".join(chain)
                meanings.append(f"{used}={','.join(sorted(map(str, meant)))}")
                needed |= meant
        needed |= self._run_by(found.module)
        for imported in piece.imports:
            for module in self._modules_of(found.module, imported):
                needed |= self._run_by(module)
        self._known[found] = short_hash("\n".join([piece.text, *dict.fromkeys(meanings)])), needed - {found}
        return self._known[found]

    def _meant(self, module: str, chain: Chain, piece: Piece) -> set[Found]:
        """What a name with its attributes can stand for in a piece; empty for a builtin and a local variable."""
        found = set(self._named(module, chain[0]))
        for imported in piece.imports:
            if imported.local == chain[0]:
                found |= self._bound(module, imported)
        for attribute in chain[1:]:
            for one in [one for one in found if one.name == "*" and not one.outside]:
                found = found - {one} | self.member(one.module, attribute)
        return found

    def _named(self, module: str, name: str) -> frozenset[Found]:
        """What a module's top-level name stands for; empty where it has none of this name."""
        key = module, name
        if key in self._names:
            return self._names[key]
        if key in self._open or (syntax := self._parsed(module)) is None:
            return frozenset()
        self._open.add(key)
        found = {Found(module, name)} if name in syntax.definitions else set[Found]()
        for imported in syntax.imports:
            if imported.local == name:
                found |= self._bound(module, imported)
            elif imported.name == "*" and not found:
                found |= self._of_star(module, imported, name)
        self._open.remove(key)
        if not self._open:  # inside a circle of imports the answer may be incomplete
            self._names[key] = frozenset(found)
        return frozenset(found)

    def _bound(self, module: str, imported: Import) -> frozenset[Found]:
        """What the name of an import statement stands for."""
        origin = self._absolute(module, imported)
        if self._file(origin) is None:
            return frozenset({Found(origin, imported.name, outside=True)})
        whole = imported.name in ("", "*")
        return frozenset({Found(origin, "*")}) if whole else self.member(origin, imported.name)

    def _of_star(self, module: str, imported: Import, name: str) -> frozenset[Found]:
        """What a name stands for that ``from x import *`` may bind; of another package: perhaps that."""
        origin = self._absolute(module, imported)
        if self._file(origin) is None:
            return frozenset({Found(origin, "*", outside=True)})
        return self._named(origin, name)

    def member(self, module: str, name: str) -> frozenset[Found]:
        """What an attribute of a module stands for: a name of it, a module in it, or else anything of it."""
        if found := self._named(module, name):
            return found
        below = f"{module}.{name}" if module else name
        return frozenset({Found(below, "*") if self._file(below) is not None else Found(module, "?")})

    def _everything(self, module: str) -> Iterator[Found]:
        """All pieces of a module, and what it re-exports."""
        syntax = self._parsed(module)
        assert syntax is not None, module
        yield from (Found(module, name) for name in syntax.definitions)
        for imported in syntax.imports:
            if imported.name:
                yield from self._bound(module, imported)
        yield from self._run_by(module)

    def _run_by(self, module: str) -> frozenset[Found]:
        """What modules do, besides defining names, when this one is imported."""
        if module not in self._effects:
            found, todo, seen = set[Found](), [module], set[str]()
            while todo:
                current = todo.pop()
                if not current or current in seen | NOT_COUNTED.keys() or (syntax := self._parsed(current)) is None:
                    continue
                seen.add(current)
                found |= {Found(current, "")} if syntax.effects else set()
                todo.append(current.rpartition(".")[0])
                todo += [other for imported in syntax.executed for other in self._modules_of(current, imported)]
            self._effects[module] = frozenset(found)
        return self._effects[module]

    def _modules_of(self, module: str, imported: Import) -> list[str]:
        """The modules that an import statement loads."""
        origin = self._absolute(module, imported)
        below = f"{origin}.{imported.name}" if origin else imported.name
        return [name for name in (origin, below if imported.name else "") if name and self._file(name) is not None]

    def _absolute(self, module: str, imported: Import) -> str:
        """The full name of the module that an import statement in ``module`` names."""
        if not imported.level:
            return imported.module
        file = self._file(module)
        inside = file is not None and file.name == "__init__.py"
        parents = module.split(".") if inside else module.split(".")[:-1]
        parents = parents[: len(parents) - (imported.level - 1)]
        return ".".join([*parents, *filter(None, [imported.module])])


def engine_pieces(package: Path = PACKAGE) -> Mapping[str, str]:
    """The hash of every piece that all results depend on.

    Raises:
        LookupError: when a name in `ENGINE` does not exist.
    """
    return pieces_of(ENGINE, package)


def pieces_of(names: Iterable[str], package: Path = PACKAGE) -> Mapping[str, str]:
    """The hash of every piece of ltbench that these names depend on.

    Raises:
        LookupError: when one of them does not exist.
    """
    code = Code(Scope(package=package), loaded.read)
    for name in names:
        if code.hash_of(name) is None:
            raise LookupError(f"{name} does not exist; correct its name in ltbench.method.source.ENGINE")
    return code.pieces(found for name in names for found in code.member(*name.rsplit(".", 1)))


@functools.cache
def engine() -> Mapping[str, str]:
    """`engine_pieces` of this process."""
    return engine_pieces()


@functools.cache
def engine_digest() -> str:
    """One hash of all of them."""
    return digest_of(engine())


def digest_of(pieces: Mapping[str, str]) -> str:
    """Sixteen hex digits that name a set of pieces with their content."""
    return hashlib.sha256(json.dumps(sorted(pieces.items())).encode()).hexdigest()[:16]


class Present:
    """The hashes of pieces as they are now, by name.

    Args:
        folders: with method files, besides the built-in methods and ``./methods``.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._codes = [Code(Scope(folder)) for folder in places(folders)]
        self._hashes: dict[str, str] = {}
        self._run_with: dict[str, frozenset[str]] = {}
        self._tops: dict[str, Code | None] = {}

    def changes(self, sources: Mapping[str, str]) -> dict[str, str]:
        """Compare with earlier hashes.

        Args:
            sources: those hashes, by name.

        Returns:
            By name, for each piece that is not as it was: ``edited``, also for a module that does more than define
            names since then; ``not found`` in its file; or ``no file``, where its module is in none of the folders, so
            that nothing is known.
        """
        for name in sources.keys() - self._hashes.keys():
            code = self._code_of(name.partition(".")[0])
            self._hashes[name] = "no file" if code is None else code.hash_of(name) or "not found"
            self._run_with[name] = frozenset() if code is None else code.run_with(name)
        now = self._hashes
        changed = (name for name, old in sources.items() if now[name] != old)
        run = {module for name in sources for module in self._run_with[name]}
        return {
            **{name: now[name] if now[name] in ("no file", "not found") else "edited" for name in changed},
            **dict.fromkeys(run - sources.keys(), "edited"),
        }

    def _code_of(self, top: str) -> Code | None:
        """The code in which the modules are whose first name is ``top``; None where there is none."""
        if top not in self._tops:
            found = next((code for code in self._codes if code.scope.find(top) is not None), None)
            if found is None:
                installed = [place for place in sys.path if place not in ADDED_TO_PATH]
                spec = importlib.machinery.PathFinder.find_spec(top, installed)
                found = Code(Scope.installed(top, Path(spec.origin))) if spec and spec.origin else None
            self._tops[top] = found
        return self._tops[top]


def places(folders: Sequence[Path] = ()) -> list[Path]:
    """Where method files are: the built-in ones, ``./methods`` and these further folders."""
    return list(dict.fromkeys(p.resolve() for p in (BUILTIN, Path("methods"), *folders) if p.is_dir()))

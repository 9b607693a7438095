"""Which methods there are: one file each, found in four places, listed nowhere.

The built-in ``methods/``, ``./methods`` under the working directory, the folders of ``--methods-dir``, and the entry
points of the group ``ltbench.methods``. A later place never silently replaces a name of an earlier one.
"""

import fnmatch
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ltbench.errors import InputError, one_line, unknown
from ltbench.method.contract import Method
from ltbench.method.samplers import balances

PACKAGE = Path(__file__).parent.parent
MODULES = "ltbench_methods_"
BUILTIN = next(p for p in (PACKAGE / "methods", PACKAGE.parent / "methods") if p.is_dir())


@dataclass(frozen=True)
class Entry:
    """A method that was found: its class and the file that defines it."""

    name: str
    file: Path
    method: type[Method]

    @property
    def source(self) -> str:
        """Hash of the file: what is stale when it is edited."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]

    @property
    def about(self) -> str:
        """The first line of the class's docstring."""
        return (self.method.__doc__ or "").strip().split("\n")[0]


class Registry(Mapping[str, Entry]):
    """All methods by name.

    Attributes:
        broken: for each file that could not be used, its name and one line that says why.
    """

    def __init__(self, entries: Mapping[str, Entry], broken: Mapping[str, str]) -> None:
        self._entries = dict(sorted(entries.items()))
        self.broken = dict(broken)

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def match(self, patterns: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The names that fit any of ``patterns`` (``*``, ``?``, ``all``), and those asked for by name that are broken.

        Raises:
            InputError: for a pattern that fits nothing.
        """
        names: dict[str, None] = {}
        broken: dict[str, str] = {}
        for pattern in patterns:
            fitting = fnmatch.filter(self, "*" if pattern == "all" else pattern)
            if not fitting and pattern in self.broken:
                broken[pattern] = self.broken[pattern]
            elif not fitting:
                raise unknown("method", pattern, self, "all: ltbench ls methods")
            names.update(dict.fromkeys(fitting))
        return [name for name in self if name in names], broken

    def chain(self, name: str, hyperparameters: Mapping[str, Any]) -> list[tuple[Entry, Method]]:
        """The methods that are trained one after another for ``name``: those it comes ``after``, then itself.

        Raises:
            InputError: when one of them does not exist, or they run in a circle.
        """
        links = [(self[name], self[name].method(**hyperparameters))]
        while (before := links[0][1].after) is not None:
            if before not in self:
                raise InputError(
                    f"method '{name}' comes after '{before}', which does not exist; see ltbench ls methods"
                )
            if before in [entry.name for entry, _ in links]:
                raise InputError(f"method '{name}' comes after itself, by way of '{before}'")
            links.insert(0, (self[before], self[before].method()))
        return links


def discover(folders: Sequence[Path] = (), files: Sequence[Path] = ()) -> Registry:
    """Find all methods.

    Args:
        folders: further folders (``--methods-dir``).
        files: further files, wherever they lie.

    Raises:
        InputError: for a folder that does not exist, and for a name that two different files define.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"methods folder {folder} does not exist")
    entries: dict[str, Entry] = {}
    broken: dict[str, str] = {}
    places = list(dict.fromkeys(p.resolve() for p in (BUILTIN, Path("methods"), *folders) if p.is_dir()))
    found = [file for place in places for file in sorted(place.glob("*.py")) if not file.name.startswith("_")]
    for file in [*found, *(file.resolve() for file in files)]:
        if _is_there(file.stem, file, entries):
            continue
        try:
            entries[file.stem] = Entry(file.stem, file, load(file))
        except (Exception, SystemExit) as error:  # whatever a user's file may raise takes nothing else down
            broken[file.stem] = f"{file}: {one_line(error)}"
    for point in entry_points(group="ltbench.methods"):
        try:
            loaded = point.load()
            method: type[Method] = loaded if isinstance(loaded, type) else _method_of(loaded, point.name)
            file = Path(sys.modules[method.__module__].__file__ or "")
        except (Exception, SystemExit) as error:
            broken[point.name] = f"entry point {point.value}: {one_line(error)}"
            continue
        if not _is_there(point.name, file, entries):
            method.name = point.name
            entries[point.name] = Entry(point.name, file, method)
    registry = Registry(entries, broken)
    twice = {name: why for name in registry if (why := _corrects_twice(registry, name))}
    return Registry({k: v for k, v in entries.items() if k not in twice}, broken | twice)


def _corrects_twice(registry: Registry, name: str) -> str:
    """Why a method corrects the class prior more than once without saying that it means to; empty if it does not.

    New heads forget what was corrected before them.
    """
    try:
        methods = [method for _, method in registry.chain(name, {})]
    except InputError:
        return ""  # told when the method is asked for
    found: dict[str, None] = {}
    for method in methods:
        for stage in method.stages():
            if stage.new_heads:
                found = {}
            main = next(iter(method.streams_of(stage).values()))
            if stage.epochs and balances(main):
                found[f"the sampler of stream '{next(iter(method.streams_of(stage)))}'"] = None
            if method.corrects:
                found[f"{method.corrects} ({method.name})"] = None
    if len(found) < 2 or methods[-1].double_correction:
        return ""
    both = " and ".join(found)
    return (
        f"{registry[name].file}: corrects the class prior twice, by {both}; say double_correction = True if it is meant"
    )


def _is_there(name: str, file: Path, entries: Mapping[str, Entry]) -> bool:
    """Whether the very same file was found before (a checkout beside an installed package); another one is an error."""
    if name not in entries:
        return False
    if entries[name].file.read_bytes() != file.read_bytes():
        raise InputError(
            f"method '{name}' is defined twice, in {entries[name].file} and {file}; rename one of the files"
        )
    return True


def load(file: Path) -> type[Method]:
    """The method that a file defines. Whatever the file raises is passed on.

    Raises:
        InputError: where it defines none, or more than one.
    """
    return _method_of(_import(file), file.stem)


def error_of_loading(file: Path, module: str | None) -> str:
    """Load a method's file, or the module of an installed package; what went wrong in one line, empty if nothing."""
    try:
        if module is None:
            load(file)
        else:
            importlib.import_module(module)
    except (Exception, SystemExit) as error:
        return one_line(error)
    return ""


def is_file_module(method: type[Method]) -> bool:
    """Whether a method was loaded from a file of its own, and not from an installed package."""
    return method.__module__.startswith(MODULES)


def _import(file: Path) -> ModuleType:
    name = f"{MODULES}{hashlib.sha256(bytes(file)).hexdigest()[:8]}.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _method_of(module: ModuleType, name: str) -> type[Method]:
    """The one class of a file that is a method."""
    methods = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Method)]
    own = [m for m in methods if m.__module__ == module.__name__]
    if len(own) != 1:
        raise InputError(f"a method file defines one class derived from ltbench.Method; this one defines {len(own)}")
    own[0].name = name
    return own[0]

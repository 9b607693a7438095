"""Find the methods: one file each, in four places, without a central list.

The places are the built-in ``methods/``, ``./methods`` in the working directory, the folders of ``--methods-dir``, and
the entry points of the group ``ltbench.methods``. Two different files with the same name are an error.
"""

import fnmatch
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ltbench.errors import InputError, one_line, unknown
from ltbench.loaded import forget, mixed, read, read_once
from ltbench.method.chain import check_chosen, corrections
from ltbench.method.contract import Method
from ltbench.method.entries import AFTER, DOUBLE, of_chain, parse_entry, written
from ltbench.method.loading import is_file_module, load, method_of
from ltbench.method.source import Code, Scope, digest_of, engine, places
from ltbench.method.state import Guard
from ltbench.method.valid import check


@dataclass(frozen=True)
class Entry:
    """A method that was found: its class, the file that defines it, and the code that it is built from."""

    name: str
    file: Path
    method: type[Method]
    code: Code

    @cached_property
    def pieces(self) -> Mapping[str, str]:
        """The hash of each piece of source code that this method is built from, and not every method."""
        module = self.file.stem if is_file_module(self.method) else self.method.__module__
        found = self.code.pieces(self.code.member(module, self.method.__qualname__))
        return {name: value for name, value in found.items() if name not in engine()}

    @cached_property
    def source(self) -> str:
        """One hash of all of them."""
        return digest_of(self.pieces)

    @property
    def about(self) -> str:
        """The first line of the class's docstring."""
        return (self.method.__doc__ or "").strip().split("\n")[0]


class Registry(Mapping[str, Entry]):
    """All methods by name.

    Attributes:
        broken: for each file that cannot be used, its name and the reason in one line.
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
        """The names that match any of ``patterns`` (``*``, ``?``, ``all``), and the broken ones that are named in full.

        Raises:
            InputError: for a pattern that matches nothing.
        """
        names: dict[str, None] = {}
        broken: dict[str, str] = {}
        for pattern in patterns:
            fitting = fnmatch.filter(self, "*" if pattern == "all" else pattern)
            if not fitting and pattern in self.broken:
                broken[pattern] = self.broken[pattern]
            elif not fitting:
                raise unknown("method", pattern, self, "list them with ltbench ls methods")
            names.update(dict.fromkeys(fitting))
        return [name for name in self if name in names], broken

    def chain(
        self, name: str, values: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    ) -> list[tuple[Entry, Method]]:
        """The methods that are trained one after another for ``name``: those it comes ``after``, then itself.

        Args:
            values: hyper-parameters of the method; also ``after``, an entry that replaces the method's own, and
                ``double_correction``.
            settings: values of the methods that it comes after, by name.

        Raises:
            InputError: when one of them does not exist, or they run in a circle.
            Refused: when the method cannot follow the one that ``after`` names.
        """
        return self._chain(name, values, settings, ())

    def _chain(
        self, name: str, values: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]], later: tuple[str, ...]
    ) -> list[tuple[Entry, Method]]:
        """The chain of a method that ``later`` ones continue from."""
        default, own = self[name].method.after, dict(values)
        if default is None:
            if AFTER in own:
                others = ", ".join(other for other, entry in self.items() if entry.method.after is not None)
                raise InputError(
                    f"{written(name, of_chain(own))}: '{name}' continues from no other method; these do: {others}", name
                )
            return [(self[name], self._made(name, own))]
        chosen, double = own.pop(AFTER, None), str(own.pop(DOUBLE, False)).lower() == "true"
        method = self._made(name, own)
        before, theirs = parse_entry(str(chosen or default))
        if before not in self:
            raise self._missing(name, before, chosen)
        if before in (name, *later):
            raise InputError(f"method '{before}' comes after itself, through '{name}'; change 'after' in one")
        links = self._chain(before, {**settings.get(before, {}), **theirs}, settings, (name, *later))
        links.append((self[name], method))
        if chosen is not None and before != default:
            check_chosen([link for _, link in links], double)
        return links

    def _made(self, name: str, values: Mapping[str, Any]) -> Method:
        """A method with these hyper-parameters, and its stages tried once.

        Raises:
            InputError: for values that are not allowed, and when code of the method fails with them.
        """
        try:
            method = self[name].method(**values)
            method.stages()
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            raise InputError(f"{self[name].file}: {written(name, values)} fails: {one_line(error)}", name) from error
        return method

    def _missing(self, name: str, before: str, chosen: Any) -> InputError:
        """The error for a method that another one comes after and that cannot be used."""
        if before in self.broken:
            return InputError(f"{written(name, {AFTER: before})}: {self.broken[before]}", before)
        if chosen is not None:
            return unknown("method", before, self, f"in {written(name, {AFTER: chosen})}")
        return InputError(f"method '{name}' comes after '{before}', which does not exist; see ltbench ls methods")

    def cost(self, links: Sequence[tuple[Entry, Method]]) -> float:
        """The declared cost of a chain relative to ``ce``: that of its last method, adjusted to a chosen ``after``."""
        own = links[-1][1]
        if own.after is None or links[-2][0].name == own.after:
            return own.cost
        return own.cost - self[own.after].method.cost + self.cost(links[:-1])


def discover(folders: Sequence[Path] = (), files: Sequence[Path] = ()) -> Registry:
    """Find all methods.

    Args:
        folders: further folders (``--methods-dir``).
        files: further files, in any folder.

    Raises:
        InputError: for a folder that does not exist, and for a name that two different files define.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"methods folder {folder} does not exist; create it, or correct --methods-dir")
    entries: dict[str, Entry] = {}
    broken: dict[Path, str] = {}
    codes: dict[Path, Code] = {}
    guard = Guard()
    forget()
    found = [file for place in places(folders) for file in sorted(place.glob("*.py")) if not file.name.startswith("_")]
    for file in [*found, *(file.resolve() for file in files)]:
        if _is_there(file.stem, file, entries):
            continue
        code = codes.setdefault(file.parent, Code(Scope(file.parent), read))
        try:
            with guard.importing():
                method = load(file, code)
                check(method)
            entries[file.stem] = Entry(file.stem, file, method, code)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an error in one file must not stop the others
            broken[file] = one_line(error)
    mixed()  # from here on, an edit of what was loaded changes nothing in this process
    used = {file for entry in entries.values() if broken for file in entry.code.neighbours(entry.name).values()}
    reasons = {file.stem: f"{file}: {why}" for file, why in broken.items() if file not in used}
    reasons |= _installed(entries, guard)
    registry = Registry(entries, reasons)
    refused = {name: why for name in registry if (why := _refusal(registry, name))}
    return Registry({k: v for k, v in entries.items() if k not in refused}, reasons | refused)


def _installed(entries: dict[str, Entry], guard: Guard) -> dict[str, str]:
    """Add the methods of installed packages; returns, by name, why one cannot be used."""
    broken: dict[str, str] = {}
    for point in entry_points(group="ltbench.methods"):
        try:
            with guard.importing():
                loaded = point.load()
            method: type[Method] = loaded if isinstance(loaded, type) else method_of(loaded, point.name)
            file = Path(sys.modules[method.__module__].__file__ or "")
            check(method)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            broken[point.name] = f"entry point {point.value}: {one_line(error)}"
            continue
        if not _is_there(point.name, file, entries):
            method.name = point.name
            code = Code(Scope.installed(method.__module__, file), read_once)
            entries[point.name] = Entry(point.name, file, method, code)
    return broken


def _refusal(registry: Registry, name: str) -> str:
    """Why a method cannot be used; empty where it can.

    Refused are methods with a sampler that fails, and methods that correct the class prior twice without
    ``double_correction``. New heads remove what was corrected before them.
    """
    try:
        methods = [method for _, method in registry.chain(name, {})]
    except InputError as error:  # that it comes after a broken one, or an error for when the method is asked for
        return registry.broken.get(error.culprit, "")
    try:
        found = corrections(methods)
    except (Exception, SystemExit) as error:  # of a sampler; an error in one method must not stop the others
        return f"{registry[name].file}: its samplers fail: {one_line(error)}"
    if len(found) < 2 or methods[-1].double_correction:
        return ""
    both = " and ".join(found)
    return (
        f"{registry[name].file}: corrects the class prior twice, by {both}; set double_correction = True if you mean it"
    )


def _is_there(name: str, file: Path, entries: Mapping[str, Entry]) -> bool:
    """Whether the same file was found before, as in a checkout beside an installed package.

    Raises:
        InputError: when another file of this name was found before.
    """
    if name not in entries:
        return False
    if entries[name].file.read_bytes() != file.read_bytes():
        raise InputError(
            f"method '{name}' is defined twice, in {entries[name].file} and {file}; rename one of the files"
        )
    return True

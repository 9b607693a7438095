"""Workers as processes of this machine."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import ltbench
from ltbench.errors import InputError
from ltbench.plan.expand import Library
from ltbench.results.store import Store
from ltbench.runner.crew import AGAIN, Assignment, Crew, Event, Remote
from ltbench.runner.options import RunOptions


class _Remote(Remote):
    """Sends everything to the parent."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def send(self, *event: Any) -> None:
        """Send one event; interrupts the process where the parent was killed, which is no failure of the cell."""
        try:
            self.connection.send(event)
        except OSError:
            raise KeyboardInterrupt from None


def _worker(
    connection: Connection, root: Path, options: RunOptions, fingerprints: Mapping[tuple[str, ...], str]
) -> None:
    """The life of a worker: it loads methods and images once, and trains one job after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent receives it and ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    library, store, remote = Library(fingerprints), Store(root), _Remote(connection)
    with suppress(EOFError, KeyboardInterrupt):  # the parent is gone
        while True:
            assignment: Assignment = connection.recv()
            try:
                stays = assignment.work_through(store, options, library, remote)
            except (InputError, OSError) as error:  # it would end a run without workers too
                remote.send("ends the run", "", error)
                return
            if not stays:
                return


def _end_with_parent() -> None:
    """End this process as soon as the parent is gone, also in the middle of a cell."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _clean_start() -> Iterator[None]:
    """Hide the main module and the working folder while a process starts.

    A new process imports the main module of its parent. Workers use nothing of it, and a script without
    ``if __name__ == "__main__":`` would start all over in each of them. A file such as ``random.py`` in the working
    folder would take the place of a module of Python.
    """
    main, path, safe = sys.modules["__main__"], list(sys.path), os.environ.get("PYTHONSAFEPATH")
    sys.modules["__main__"] = ModuleType("__main__")
    here, ours = Path.cwd(), Path(ltbench.__file__).parents[1]
    if here != ours:  # a checkout that is not installed is found in the working folder only
        sys.path[:] = [place for place in path if place and Path(place) != here]
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        sys.modules["__main__"], sys.path[:] = main, path
        if safe is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = safe


class Processes(Crew[Connection]):
    """Workers on this machine; each is known by the connection to it."""

    def __init__(self, store: Store, options: RunOptions, library: Library) -> None:
        super().__init__(store, options, library)
        self.context = multiprocessing.get_context("forkserver")
        preload = ["ltbench.runner.one_cell", "ltbench.method.registry"]
        self.context.set_forkserver_preload(preload)  # torch is imported once for all
        self.processes: dict[Connection, BaseProcess] = {}
        self.devices: dict[Connection, str] = {}

    def start(self) -> Connection:
        """Start a process."""
        device = self._device()
        options = replace(self.options, device=device)
        for _ in range(AGAIN + 1):
            ours, theirs = self.context.Pipe()
            arguments = (theirs, self.store.root, options, self.library.fingerprints)
            process = self.context.Process(target=_worker, args=arguments, daemon=True)
            with suppress(EOFError, ConnectionError), _clean_start():  # the fork server was killed: it starts again
                process.start()
                break
        else:
            raise InputError("the process that starts the workers ended three times; try --workers 1")
        theirs.close()
        self.processes[ours], self.devices[ours] = process, device
        return ours

    def _device(self) -> str:
        """The device of the next worker; with ``all``, a GPU that no living worker has."""
        if self.options.device != "all":
            return self.options.device
        used = {self.devices[worker] for worker in self.processes}
        return next(gpu for i in range(self.workers) if (gpu := f"cuda:{i}") not in used)

    def send(self, worker: Connection, assignment: Assignment) -> bool:
        """Give a process a job; False where it died while it was idle."""
        try:
            worker.send(assignment)
        except OSError:
            self.dismiss(worker)
            return False
        return True

    def events(self) -> Iterator[tuple[Connection, Event | str]]:
        """Wait, and yield what busy processes report."""
        for ready in wait(list(self.busy)):
            assert isinstance(ready, Connection)
            try:
                yield ready, ready.recv()
            except (EOFError, OSError):
                yield ready, self._why(ready)

    def _why(self, worker: Connection) -> str:
        process = self.processes.pop(worker)
        process.join()
        killed = " (killed, often because memory ran out)" if process.exitcode == -signal.SIGKILL else ""
        return f"its process ended with exit status {process.exitcode}{killed}"

    def dismiss(self, worker: Connection) -> None:
        """Wait for the end of a process that ends by itself."""
        self.processes.pop(worker).join()

    def end(self) -> None:
        """End all processes."""
        for connection, process in self.processes.items():
            connection.close()
            process.terminate()
        for process in self.processes.values():
            process.join()

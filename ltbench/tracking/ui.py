"""MLflow's own pages, served to this machine only."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from ltbench.errors import InputError
from ltbench.results.store import Store
from ltbench.tracking.address import ENVIRONMENT, address, shown

HOST = "127.0.0.1"
START_S = 180.0
STOP_S = 10.0
ENDING = ("SIGINT", "SIGTERM", "SIGHUP")


def show_ui(store: Store, port: int, say: Callable[[str], None]) -> None:
    """Update MLflow, print the addresses of its leaderboards, and serve them until interrupted.

    Where ``MLFLOW_TRACKING_URI`` names a server, the addresses on that server are printed and nothing is served.

    Raises:
        InputError: when MLflow does not answer, or the port is taken.
    """
    from ltbench.tracking.sync import pages, sync

    base = address(store)
    served = base.startswith("http")
    if not served:
        _check_free(port)
    sync(store)
    if served:
        say(shown(_lines(pages(store, base))))
        return
    with suppress(KeyboardInterrupt), _ended_by(*ENDING), serving(store, port) as process:
        say(_lines(pages(store, f"http://{HOST}:{port}")))
        say("Press Ctrl-C to stop the server.")
        process.wait()


@contextmanager
def _ended_by(*names: str) -> Iterator[None]:
    """Raise KeyboardInterrupt at these signals too; further ones are ignored, so that the server is stopped."""

    def end(number: int, frame: object) -> None:
        for one in handlers:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    handlers = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _lines(found: Mapping[str, Mapping[str, str]]) -> str:
    lines: list[str] = []
    for suite, pages in found.items():
        if lines:
            lines.append("")
        lines += [f"{suite}: {name}\n  {page}" for name, page in pages.items()]
    return "\n".join(lines)


@contextmanager
def serving(store: Store, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server on ``http://127.0.0.1:PORT``, answering; it ends with the context, with all of its processes.

    Raises:
        InputError: when the port is taken, or the server does not start.
    """
    _check_free(port)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address(store), "--host", HOST]
    command += ["--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | ENVIRONMENT,
        start_new_session=True,  # a group of its own, which is ended as a whole
    )
    try:
        _wait(process, port)
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children, by force where they take too long."""
    for blow in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, blow)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from error


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise InputError(f"MLflow's server did not start on port {port}; see: {' '.join(process.args)}")  # type: ignore[arg-type]

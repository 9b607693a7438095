"""Workers as actors of a Ray cluster: an existing one, or one that is started on this machine."""

import contextlib
import io
import logging
import math
import os
import queue
import re
import shutil
import signal
import socket
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import ltbench
from ltbench.errors import InputError, one_line
from ltbench.plan.expand import Library, make_plan
from ltbench.results.store import Store
from ltbench.runner.crew import Assignment, Crew, Event, Remote
from ltbench.runner.in_process import compute_features
from ltbench.runner.options import RunOptions

ANSWER_S = 10.0
"""How long the address of a cluster may take to answer."""
EPOCH_EVERY_S = 0.5
"""Shortest time between two epochs that a worker reports."""


class _Remote(Remote):
    """Puts everything into a queue, from which Ray takes it to the driver."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.reported = 0.0

    def send(self, *event: Any) -> None:
        self.events.put(event)

    def epoch(self, name: str, stage: str, done: int, epochs: int) -> None:
        if done == epochs or time.monotonic() - self.reported > EPOCH_EVERY_S:
            self.reported = time.monotonic()
            super().epoch(name, stage, done, epochs)


class _Stderr(io.TextIOBase):
    """Sends each line to the driver."""

    def __init__(self, remote: _Remote) -> None:
        self.remote, self.part = remote, ""

    def write(self, text: str) -> int:
        *lines, self.part = (self.part + text).split("\n")
        for line in lines:
            self.remote.say(line)
        return len(text)


class _Actor:
    """A worker: it loads methods and images once, and trains one job after another.

    Args:
        root: the results folder.
        work: the driver's working folder, in which ``methods/`` and relative paths are found.
        mark: name of a file in the results folder.
    """

    def __init__(
        self, root: Path, work: Path, mark: str, options: RunOptions, fingerprints: Mapping[tuple[str, ...], str]
    ) -> None:
        self.root, self.work, self.mark, self.options = root, work, mark, options
        self.library, self.store = Library(fingerprints), Store(root)

    def train(self, assignment: Assignment, images: Mapping[tuple[str, ...], Any]) -> Iterator[Event]:
        """Train the cells in a thread, and yield what it reports until the last event.

        Args:
            assignment: the job.
            images: for each data set, where Ray stores it.
        """
        remote = _Remote()

        def work() -> None:
            try:
                with contextlib.redirect_stderr(_Stderr(remote)):
                    self._prepare(assignment, images, remote)
                    assignment.work_through(self.store, self.options, self.library, remote)
            except BaseException as error:
                remote.events.put(error)

        threading.Thread(target=work, daemon=True).start()
        while True:
            event = remote.events.get()
            if isinstance(event, BaseException):
                raise event
            yield event
            if event[0] in ("idle", "leaves"):
                return

    def _prepare(self, assignment: Assignment, images: Mapping[tuple[str, ...], Any], remote: _Remote) -> None:
        """Check that this node has what the cells need.

        Raises:
            InputError: where it has not.
        """
        import ray

        node = f"Ray node {ray.util.get_node_ip_address()}"  # type: ignore[no-untyped-call]
        for folder, known in (("results", self.root / self.mark), ("working", self.work)):
            if not known.exists():
                place = self.root if folder == "results" else self.work
                raise InputError(
                    f"{node} does not see the {folder} folder {place}; it must be on a disk that all nodes share"
                )
        os.chdir(self.work)
        self.library.keep({key: ray.get(place) for key, place in images.items() if key not in self.library})
        planned = [p for p in make_plan(assignment.request, self.library).cells if p.cell.id in assignment.ids]
        if len(planned) < len(assignment.ids):
            raise InputError(
                f"{node} has other code, methods or images than this machine: {len(assignment.ids) - len(planned)} of "
                f"{len(assignment.ids)} cells are unknown there; install the same version of ltbench"
            )
        compute_features(planned, self.options, remote)


class Actors(Crew[int]):
    """Workers on the nodes of a cluster; each is known by a number."""

    def __init__(self, store: Store, options: RunOptions, library: Library) -> None:
        super().__init__(store, options, library)
        self.cluster: _Cluster | None = None
        self.actors: dict[int, Any] = {}
        self.streams: dict[int, Any] = {}
        self.images: dict[tuple[str, ...], Any] = {}
        self.needs: dict[str, float] = {}
        self.started = 0
        self.mark = f".{uuid4().hex}.tmp"

    @property
    def workers(self) -> int:
        """How many there are when there is enough to do."""
        self._connect()
        return super().workers

    def _connect(self) -> None:
        """Connect to the cluster, and fit the options to it."""
        if self.cluster is None:
            self.cluster = _Cluster()
            self.options, self.needs = fitted(self.options, self.cluster.nodes())

    def start(self) -> int:
        """Ask Ray for an actor. It begins as soon as a node has room for it."""
        import ray

        self.started += 1
        (self.store.root / self.mark).touch()  # each time, since old files of this kind are swept away
        self.actors[self.started] = (
            ray.remote(_Actor)
            .options(**self.needs, runtime_env={"env_vars": _environment()}, max_restarts=0)
            .remote(self.store.root.resolve(), Path.cwd(), self.mark, self.options, self.library.fingerprints)
        )
        return self.started

    def send(self, worker: int, assignment: Assignment) -> bool:
        """Give an actor a job."""
        import ray

        for key, images in self.library.in_memory.items():
            if key not in self.images:
                self.images[key] = ray.put(images)  # each node fetches them once, and its workers share the memory
        train = self.actors[worker].train.options(num_returns="streaming")
        self.streams[worker] = train.remote(assignment, self.images)
        return True

    def events(self) -> Iterator[tuple[int, Event | str]]:
        """Wait, and yield what busy actors report. Once no cell is left, those that wait for a node are given up."""
        import ray

        if not self.todo:
            self.busy.clear()
            return
        busy = list(self.busy)
        ready, _ = ray.wait([self.streams[worker] for worker in busy], timeout=1.0, fetch_local=False)
        for worker in busy:
            if self.streams[worker] in ready:
                try:
                    yield worker, ray.get(next(self.streams[worker]))
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, InputError):
                        raise error.cause from None
                    self.dismiss(worker)
                    yield worker, f"its worker ended with {one_line(error.cause)}"
                except (ray.exceptions.RayError, StopIteration) as error:
                    self.dismiss(worker)
                    yield worker, _why(error)

    def dismiss(self, worker: int) -> None:
        """End an actor."""
        import ray

        ray.kill(self.actors.pop(worker))
        del self.streams[worker]

    def end(self) -> None:
        """End all actors, and the cluster if it was started here."""
        if self.cluster is not None:
            for worker in list(self.actors):
                self.dismiss(worker)
            self.images.clear()
            (self.store.root / self.mark).unlink(missing_ok=True)
            self.cluster.leave()


def _why(error: BaseException) -> str:
    """Why an actor is gone, in one line of Ray's text."""
    text = str(error)
    if "node" in text.lower() and re.search(r"node (?:has )?(?:died|dead)|node.* was dead|node death", text, re.I):
        return "its node died"
    detail = re.search(r"Worker exit detail: (.*?)(?:\. There are|$)", text, re.S | re.M)
    last = detail[1] if detail else text.strip().splitlines()[-1] if text.strip() else type(error).__name__
    return f"its worker died ({last.strip()[:200]})"


class _Cluster:
    """The connection to a cluster: that of this process, the one that Ray finds, or one that is started here."""

    def __init__(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self.folder: str | None = None
        self.ours = not ray.is_initialized()
        if not self.ours:
            return
        if (address := os.environ.get("RAY_ADDRESS", "")).startswith("ray://"):
            raise InputError(f"RAY_ADDRESS={address}: Ray's client is not supported; run on a node of the cluster")
        if ":" in address:
            _check_answers(address)
        handler = signal.getsignal(signal.SIGTERM)  # Ray replaces it
        try:
            self._connect(address)
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)

    def _connect(self, address: str) -> None:
        import ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        self.folder = tempfile.mkdtemp(prefix="ltbench-ray-")
        with contextlib.chdir(self.folder):  # Ray puts the working folder on the path of its workers
            try:
                ray.init(address="auto", **quiet)
            except ConnectionError as error:
                if address:
                    raise InputError(f"RAY_ADDRESS={address}: there is no Ray cluster; {one_line(error)}") from error
                ray.init(address="local", include_dashboard=False, _temp_dir=self.folder, **quiet)

    def nodes(self) -> list[dict[str, float]]:
        """The resources of each node that is alive."""
        import ray

        return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]

    def leave(self) -> None:
        """Disconnect; a cluster that was started here ends."""
        import ray

        if self.ours:
            ray.shutdown()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _check_answers(address: str) -> None:
    """Raise InputError where nothing answers at ``host:port``, for which Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise InputError(f"RAY_ADDRESS={address}: there is no Ray cluster; {one_line(error)}") from error


def _environment() -> dict[str, str]:
    """Variables of the workers: those of ltbench, and where it is imported from if it is not installed."""
    found = {name: value for name, value in os.environ.items() if name.startswith("LTBENCH_")}
    ours = str(Path(ltbench.__file__).parents[1])
    if ours not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))
    return found


def fitted(options: RunOptions, nodes: list[dict[str, float]]) -> tuple[RunOptions, dict[str, float]]:
    """Fit options to a cluster: device and number of workers, and the CPUs and GPUs of each worker by Ray's names.

    Without ``workers`` there are as many as its nodes have room for: one for each GPU, or without GPUs one for each
    ``threads`` CPUs. Where more are asked for than there are GPUs, several share a GPU.

    Args:
        options: of the run.
        nodes: the resources of each node, by Ray's names.

    Raises:
        InputError: where no node has room for a worker, and for a tier that needs a GPU.
    """
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    device = ("cuda" if gpus else "cpu") if options.device == "auto" else options.device
    if device == "cuda" and not gpus:
        raise InputError("the Ray cluster has no GPU; use --device cpu", "cuda")
    options.check_tier(device)
    room = [int(node.get("CPU", 0) // options.threads) for node in nodes]
    needs = {"num_cpus": float(options.threads)}
    if device == "cuda":
        sharing = math.ceil(max(options.workers or 1, gpus) / gpus)
        room = [min(cpus, int(node.get("GPU", 0)) * sharing) for cpus, node in zip(room, nodes, strict=True)]
        needs["num_gpus"] = 1 / sharing
    if not sum(room):
        wanted = " and ".join(f"{value:.2g} {name[4:-1].upper()}s" for name, value in needs.items())
        raise InputError(f"no node of the Ray cluster has {wanted} for a worker; use fewer --threads")
    return replace(options, device=device, workers=options.workers or sum(room)), needs

"""Leases: which process works on what, on any disk that processes and machines share.

A lease is a file that its owner renews while it lives. It needs no file locks, which many shared disks lack. The lease
of a process that has ended is free at once on the same machine; elsewhere it expires if not renewed for ``LEASE_S``.
"""

import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from ltbench.errors import InputError
from ltbench.plan.cell import digest

LEASE_S = 120.0
"""Seconds after which others may take a lease that was not renewed. Owners renew it three times as often."""
POLL_S = 0.2
LONGEST_NAME = 150


class Lost(RuntimeError):
    """This process did not renew its lease in time, and another process took it."""


class Lease:
    """A lease, owned until it is released or expires."""

    def __init__(self, file: SoftFileLease) -> None:
        self.file = file

    def release(self) -> None:
        """Let others have it."""
        self.file.release()

    @property
    def lost(self) -> bool:
        """Whether another process took it, although it was not released."""
        if self.file.token is None:
            return False
        try:
            return f"token={self.file.token}\n".encode() not in Path(self.file.lock_file).read_bytes()
        except FileNotFoundError:
            return True


class Leases:
    """The leases in a folder, by name.

    Args:
        folder: need not exist before the first lease.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting: dict[str, SoftFileLease] = {}  # each knows since when another process has not renewed it
        self.guard = threading.Lock()

    def take(self, name: str, wait: bool = False) -> Lease | None:
        """Take a lease; None where another process or thread has it.

        Args:
            name: of what this process will work on.
            wait: wait until it is free.

        Raises:
            InputError: where its file is a link to another place or no file, or lasts longer than leases of ltbench.
        """
        path = self._path(name)
        if path.is_symlink() or self.folder.is_symlink():
            raise InputError(f"{path} leads to another place; remove the link")
        with self.guard:
            file = self.waiting.pop(name, None)
        if file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = SoftFileLease(path, lease_duration=LEASE_S, thread_local=False)
        while True:
            _remove_damaged(file)
            try:
                file.acquire(timeout=LEASE_S if wait else 0, poll_interval=POLL_S)
                return Lease(file)
            except LeaseSettingsMismatch as error:
                raise InputError(
                    f"{path} is of another version of ltbench, or damaged; remove it where no process uses it"
                ) from error
            except Timeout:
                if not wait:
                    with self.guard:
                        self.waiting[name] = file
                    return None

    def taken(self, name: str) -> bool:
        """Whether a process has the lease of this name."""
        if not self._path(name).exists():
            return False
        try:
            lease = self.take(name)
        except OSError:  # the folder is read-only
            return False
        if lease is None:
            return True
        lease.release()
        return False

    def sweep(self) -> None:
        """Remove the leases of processes of this machine that have ended."""
        for path in self.folder.glob("*.lease"):
            with suppress(InputError, OSError):  # what is no lease stays until someone wants its name
                self.taken(path.stem)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name if len(name.encode()) <= LONGEST_NAME else digest(name)}.lease"


def _remove_damaged(file: SoftFileLease) -> None:
    """Remove an old file that is no lease, such as the empty one of a process that was killed while it made it.

    Raises:
        InputError: for a folder, a pipe or the like.
    """
    path = Path(file.lock_file)
    with suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path} is not a file; remove it")
        if time.time() - found.st_mtime > LEASE_S and ((owner := file.owner) is None or owner.mode != "lease"):
            path.unlink()

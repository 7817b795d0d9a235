"""A server that several jobs of one run use in turn, so that it starts only once.

The first job that needs a server starts it and lends it; later jobs with the same
model and settings take a lease on it. A lease is a locked file, so a dead job holds
none. The server's guard ends it when nobody has held a lease for a while, and at once
when the run is over: the owner is the process that starts jobs, named in an environment
variable.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from retrace.engines.base import EngineError
from retrace.engines.guard import LEASES, LOCK, STATE, is_running

OWNER = "RETRACE_OWNER"


def become_owner() -> None:
    """Make this process the owner of what its jobs lend, unless one above it is."""
    if owner() is None:
        os.environ[OWNER] = f"{os.getpid()}:{_started(os.getpid())}"


def disown() -> None:
    """From here on nothing is lent: the jobs are on other machines."""
    os.environ.pop(OWNER, None)


def owner() -> str | None:
    """The running owner as `pid:start time`, or none: then nothing is lent."""
    named = os.environ.get(OWNER, "")
    return named if named and is_running(named) else None


@dataclass(frozen=True)
class Lent:
    """A running server: how to reach it, its log, and the guard that ends it."""

    base_url: str
    key: str
    log: str
    guard: int


class Lease:
    """A share in the server of one name; `name` says all that makes it this server."""

    def __init__(self, name: str) -> None:
        ours = _private(Path(tempfile.gettempdir()) / f"retrace-{os.getuid()}")
        self.directory = _private(ours / name)
        _private(self.directory / LEASES)
        self._held: IO[str] | None = None

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else looks for, starts or ends this server meanwhile."""
        with open(self.directory / LOCK, "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def take(self) -> Lent | None:
        """Hold a lease from now on; returns the server that is lent, if there is."""
        if self._held is None:
            path = self.directory / LEASES / f"{os.getpid()}-{secrets.token_hex(4)}"
            self._held = open(path, "w")  # noqa: SIM115 - held until release
            fcntl.flock(self._held, fcntl.LOCK_EX)
        try:
            state = json.loads((self.directory / STATE).read_text("utf-8"))
        except FileNotFoundError:
            return None
        return Lent(**state)

    def publish(self, server: Lent) -> None:
        """Lend a healthy server to whoever takes a lease."""
        # Moved into place whole: a guard may be reading what stood there before.
        path = self.directory / f".{STATE}.{os.getpid()}"
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(server)), "utf-8")
        os.replace(path, self.directory / STATE)

    def withdraw(self) -> None:
        """Forget a server that does not answer."""
        (self.directory / STATE).unlink(missing_ok=True)

    def release(self) -> None:
        if self._held is not None:
            Path(self._held.name).unlink(missing_ok=True)
            self._held.close()
            self._held = None


def _private(directory: Path) -> Path:
    """A directory that only this user can enter: it holds the keys of servers."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise EngineError(
            f"{directory} belongs to somebody else or is open to others: remove it,"
            " or point TMPDIR to a directory of your own"
        )
    return directory


def _started(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]

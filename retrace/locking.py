"""A lock file with one holder, which a dead process does not keep.

The kernel's lock (`flock`) is used wherever the file system has it; on NFS Linux turns
it into a byte-range lock that the server frees when the client dies. Where there is
none (Lustre mounted without `flock`, some FUSE mounts), the holder renews a lease in
the file instead, and a lease that nobody renews may be taken over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import secrets
import socket
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)

NO_KERNEL_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
POLL = 0.2


class LockedError(RuntimeError):
    """Another live process holds the lock."""


class Lock:
    """An exclusive lock on a path. The file stays; the lock on it comes and goes.

    `renew` and `expire` are seconds, and matter only to the lease.
    """

    def __init__(self, path: Path, renew: float = 10.0, expire: float = 60.0) -> None:
        self._path = path
        self._renew = renew
        self._expire = expire
        self._file = -1
        self._lease: _Lease | None = None

    def acquire(self, wait: float) -> None:
        """Take the lock, waiting up to `wait` seconds for another holder.

        A wait longer than a minute outlives the lease that an NFS server keeps for a
        node that died.

        Raises:
            LockedError: naming the holder.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + wait
        told = False
        while not self._try():
            if time.monotonic() >= until:
                raise LockedError(
                    f"{self._path} is held by {_holder(self._path)}: expected to be"
                    " the only writer. Let that process finish, or end it"
                )
            if not told:
                log.warning(
                    "waiting up to %.0f s for %s, held by %s",
                    wait,
                    self._path,
                    _holder(self._path),
                )
                told = True
            time.sleep(POLL)

    def check(self) -> None:
        """Make sure that nobody has taken the lock meanwhile.

        Raises:
            LockedError: the lease was not renewed for so long that it was taken over.
        """
        if self._lease is not None and self._lease.is_lost():
            raise LockedError(
                f"{self._path} is now held by {_holder(self._path)}: this process was"
                " stopped or cut off for so long that another took over"
            )

    def release(self) -> None:
        if self._lease is not None:
            self._lease.end()
            self._lease = None
        elif self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1

    def _try(self) -> bool:
        if self._lease is not None:
            return self._try_lease(self._lease)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except OSError as error:
            os.close(file)
            if error.errno not in NO_KERNEL_LOCKS:
                raise
            log.warning(
                "%s: no kernel locks here (%s): using a lease", self._path, error
            )
            self._lease = _Lease(self._path, self._renew, self._expire)
            return self._try_lease(self._lease)
        # The name is for messages only: a full disk may refuse it.
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            os.pwrite(file, _me().encode(), 0)
        self._file = file
        return True

    def _try_lease(self, lease: _Lease) -> bool:
        return lease.take()


class _Lease:
    """A lock by renewal: the file names its holder, who rewrites it every few seconds.

    A lease is free when its file is empty, when its holder was a process of this
    machine that no longer runs, or when its content has not changed for `expire`
    seconds of this process's own clock, so clocks of two machines are never compared.
    """

    def __init__(self, path: Path, renew: float, expire: float) -> None:
        self._path = path
        self._renew = renew
        self._expire = expire
        self._token = secrets.token_hex(8)
        self._beat = 0
        self._seen = ""
        self._seen_at = 0.0
        self._lost = False
        self._renewed = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> bool:
        text = self._read()
        if not self._is_free(text):
            return False
        self._write()
        # Two may take a free lease at once: the last writer is the holder, and each
        # looks again after the other had time to write.
        time.sleep(min(1.0, self._renew / 5))
        if self._token not in self._read():
            return False
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        return True

    def end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._token in self._read():
            self._path.write_text("")

    def _is_free(self, text: str) -> bool:
        if not text.strip():
            return True
        if text != self._seen:
            self._seen, self._seen_at = text, time.monotonic()
        return _is_dead_here(text) or (time.monotonic() - self._seen_at >= self._expire)

    def is_lost(self) -> bool:
        """Whether another holder took over, looked up once renewal is overdue."""
        if time.monotonic() - self._renewed > self._expire / 2:
            self._look()
        return self._lost

    def _keep(self) -> None:
        while not self._stop.wait(self._renew):
            with contextlib.suppress(OSError):
                self._look()
                if self._lost:
                    return
                self._write()

    def _look(self) -> None:
        # A process that was stopped for long must not take its lease back.
        self._lost = self._lost or self._token not in self._read()

    def _read(self) -> str:
        try:
            return self._path.read_text()
        except FileNotFoundError:
            return ""

    def _write(self) -> None:
        self._beat += 1
        temporary = self._path.with_name(f".{self._path.name}.{self._token}")
        temporary.write_text(_me(token=self._token, beat=self._beat))
        os.replace(temporary, self._path)
        self._renewed = time.monotonic()


def _me(**more: object) -> str:
    pid = os.getpid()
    me = {"host": socket.gethostname(), "pid": pid, "born": _born(pid), **more}
    return json.dumps(me)


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text())
        return f"process {found['pid']} on {found['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "an unnamed process"


def _is_dead_here(text: str) -> bool:
    try:
        found = json.loads(text)
        if found["host"] != socket.gethostname():
            return False
        return bool(_born(int(found["pid"])) != found["born"])
    except (ValueError, KeyError, TypeError):
        return False


def _born(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def is_held(path: Path) -> bool:
    """Whether a live process holds a lock, for a look that takes nothing."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in NO_KERNEL_LOCKS:
            raise
        # A lease: held while its file names somebody who is not known to be dead.
        text = path.read_text()
        return bool(text.strip()) and not _is_dead_here(text)
    finally:
        os.close(file)
    return False

"""Runs a command and outlives nothing: when its parent dies, so does all it started.

    python -I guard.py PIPE_FD DIRECTORY LINGER OWNER COMMAND ...

The parent holds the write end of a pipe. The pipe's end of file means that the parent
is gone, however it went (SIGKILL included). A byte in it means that the parent lends
the server: from then on it lasts while OWNER runs and somebody holds a lease in
DIRECTORY, and LINGER seconds longer. This process is the
leader of its own group and the reaper of orphans below it, so even a grandchild that
left the group is found and ended. vLLM's sockets lie in a directory that is removed
with it. Standard library only; Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE = 5.0
POLL = 0.2

# Where vLLM puts the sockets of its processes, and leaves them.
SOCKETS = "VLLM_RPC_BASE_PATH"

# What the directory of a lent server holds.
LEASES, LOCK, STATE = "leases", "lock", "server.json"


def main() -> int:
    pipe, directory, linger, owner, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # The group is ended by this process; a signal to the group must not end it first.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    sockets = tempfile.mkdtemp(prefix="retrace-")
    os.environ.setdefault(SOCKETS, sockets)
    child = os.fork()
    if child == 0:
        _become(libc, command, int(pipe))
    status = _wait(child, int(pipe), Leases(Path(directory), float(linger), owner))
    _end_all(os.getpid())
    shutil.rmtree(sockets, ignore_errors=True)
    return status


class Leases:
    """Whether a lent server is still wanted."""

    def __init__(self, directory: Path, linger: float, owner: str) -> None:
        self.directory = directory
        self.linger = linger
        self.owner = owner
        self._idle_since: float | None = None

    def are_over(self) -> bool:
        """True once nobody wants the server; it is no longer offered then."""
        if not self._is_offered():
            return True
        if not is_running(self.owner):
            (self.directory / STATE).unlink(missing_ok=True)
            return True
        if self._somebody_holds_one():
            self._idle_since = None
            return False
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        return now - self._idle_since >= self.linger and self._withdraw()

    def _is_offered(self) -> bool:
        """Whether jobs still find this server, and not one that took its place."""
        try:
            state = json.loads((self.directory / STATE).read_text("utf-8"))
        except FileNotFoundError:
            return False
        return bool(state["guard"] == os.getpid())

    def _withdraw(self) -> bool:
        """Stop offering the server, unless somebody is just taking a lease."""
        with open(self.directory / LOCK, "a") as lock:
            if not _try_lock(lock.fileno()) or self._somebody_holds_one():
                return False
            (self.directory / STATE).unlink(missing_ok=True)
            return True

    def _somebody_holds_one(self) -> bool:
        held = False
        for path in (self.directory / LEASES).iterdir():
            with contextlib.suppress(FileNotFoundError), open(path) as file:
                if _try_lock(file.fileno()):
                    path.unlink(missing_ok=True)
                else:
                    held = True
        return held


def is_running(process: str) -> bool:
    """Whether a process, named as `pid:start time`, is still there."""
    pid, _, started = process.partition(":")
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return stat[19] == started and stat[0] != "Z"


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _become(libc: ctypes.CDLL, command: list[str], pipe: int) -> None:
    os.close(pipe)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error}", file=sys.stderr, flush=True)
        os._exit(127)


def _wait(child: int, pipe: int, leases: Leases) -> int:
    """Wait until the child ends or nobody wants it; return the exit status."""
    lent = False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) & 0xFF
        if lent:
            time.sleep(POLL)
            if leases.are_over():
                return 0
            continue
        readable, _, _ = select.select([pipe], [], [], POLL)
        if readable:
            lent = bool(os.read(pipe, 1))
            if not lent:
                return 0


def _end_all(own: int) -> None:
    """SIGTERM to every descendant, SIGKILL to those that stay."""
    until = time.monotonic() + GRACE
    _send(own, signal.SIGTERM)
    while _reap() and time.monotonic() < until:
        time.sleep(0.05)
    while _reap():
        _send(own, signal.SIGKILL)
        time.sleep(0.05)


def _send(own: int, number: signal.Signals) -> None:
    for pid in _descendants(own):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _reap() -> bool:
    """Collect what has ended; whether children are left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _descendants(own: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (path / "stat").read_text()
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(path.name))
    found, queue = [], [own]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


if __name__ == "__main__":
    sys.exit(main())

"""Runs a command and outlives nothing: when its parent dies, so does all it started.

    python -I guard.py PIPE_FD COMMAND ...

The parent holds the write end of a pipe and writes nothing. The pipe's end of file
means that the parent is gone, however it went (SIGKILL included). This process is the
leader of its own group and the reaper of orphans below it, so even a grandchild that
left the group is found and ended. Standard library only; Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE = 5.0
POLL = 0.2


def main() -> int:
    pipe, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # The group is ended by this process; a signal to the group must not end it first.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    child = os.fork()
    if child == 0:
        _become(libc, command, pipe)
    status = _wait(child, pipe)
    _end_all(os.getpid())
    return status


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


def _wait(child: int, pipe: int) -> int:
    """Wait until the child ends or the parent is gone; return the exit status."""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) & 0xFF
        readable, _, _ = select.select([pipe], [], [], POLL)
        if readable and not os.read(pipe, 1):
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

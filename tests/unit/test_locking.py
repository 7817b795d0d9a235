"""The lease, for file systems without kernel locks."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path

import pytest

from retrace.locking import Lock, LockedError, is_held


@pytest.fixture(autouse=True)
def _no_kernel_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Lustre answers when it is mounted without flock."""

    def refuse(_file: int, _how: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)


def quick(path: Path) -> Lock:
    return Lock(path, renew=0.05, expire=1.0)


def test_a_lease_has_one_holder_and_is_renewed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = quick(path)
    lock.acquire(wait=30)
    assert is_held(path)
    # Longer than the lease lasts without renewal.
    with pytest.raises(LockedError, match=f"process {os.getpid()}"):
        quick(path).acquire(wait=1.2)
    lock.release()
    assert not is_held(path)
    again = quick(path)
    again.acquire(wait=1.0)
    again.release()


def test_a_lease_of_a_dead_process_here_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    dead = {"host": socket.gethostname(), "pid": 2**22 + 1, "born": "1"}
    path.write_text(json.dumps(dead))
    assert not is_held(path)
    lock = Lock(path, renew=0.1, expire=1000)
    lock.acquire(wait=30)
    lock.release()


def test_a_lease_of_another_machine_is_free_when_nobody_renews_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "born": "1"}))
    assert is_held(path)
    with pytest.raises(LockedError, match="process 1 on elsewhere"):
        quick(path).acquire(wait=0.2)
    lock = quick(path)
    lock.acquire(wait=30)
    lock.release()


def test_a_lease_that_was_taken_over_is_not_taken_back(tmp_path: Path) -> None:
    """As after a stop of the process, or of its network, that outlived the lease."""
    path = tmp_path / "lock"
    lock = Lock(path, renew=0.05, expire=0.2)
    lock.acquire(wait=30)
    lock.check()
    taken = json.dumps({"host": "elsewhere", "pid": 7, "born": "1", "token": "-"})
    new = tmp_path / "new"
    deadline = time.monotonic() + 30
    # Between two renewals, one of which may just be under way.
    while time.monotonic() < deadline:
        new.write_text(taken)
        os.replace(new, path)
        time.sleep(0.3)
        if path.read_text() == taken:
            break
    with pytest.raises(LockedError, match="process 7 on elsewhere"):
        lock.check()
    lock.release()
    assert path.read_text() == taken

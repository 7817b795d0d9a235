"""A lent server: who may use it, and when its guard ends it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retrace.engines import guard, lending
from retrace.engines.base import EngineError

OWNER = "import time, sys; print('up', flush=True); time.sleep(60)"


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for the run, named in the environment."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    started = lending._started(process.pid)
    monkeypatch.setenv(lending.OWNER, f"{process.pid}:{started}")
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lending.Lease:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return lending.Lease("server")


def start_guard(lease: lending.Lease, linger: float) -> subprocess.Popen[bytes]:
    """A guarded `sleep` that is lent at once, as an engine does it."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-I", guard.__file__, str(read_end)),
            *(str(lease.directory), str(linger), lending.owner() or "-"),
            *("sleep", "60"),
        ],
        pass_fds=[read_end],
        start_new_session=True,
    )
    os.close(read_end)
    lease.publish(lending.Lent("http://127.0.0.1:1/v1", "k", "log", process.pid))
    os.write(write_end, b"k")
    os.close(write_end)
    return process


def ends(process: subprocess.Popen[bytes], within: float = 10.0) -> bool:
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


def stays(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not condition():
            return False
        time.sleep(0.05)
    return True


def test_a_lent_server_outlives_its_starter_and_ends_after_the_last_lease(
    owner: subprocess.Popen[bytes], lease: lending.Lease
) -> None:
    first, second = lease, lending.Lease("server")
    assert first.take() is None
    process = start_guard(lease, linger=0.3)
    lent = second.take()
    assert lent is not None
    assert lent.guard == process.pid
    first.release()
    assert stays(lambda: process.poll() is None, 0.8)
    second.release()
    assert ends(process)
    assert lease.take() is None


def test_a_lent_server_ends_with_the_run_even_while_it_is_used(
    owner: subprocess.Popen[bytes], lease: lending.Lease
) -> None:
    lease.take()
    process = start_guard(lease, linger=60)
    assert stays(lambda: process.poll() is None, 0.6)
    owner.kill()
    owner.wait()
    assert ends(process)


def test_a_server_that_was_replaced_ends(
    owner: subprocess.Popen[bytes], lease: lending.Lease
) -> None:
    lease.take()
    process = start_guard(lease, linger=60)
    lease.withdraw()
    assert ends(process)


def test_a_dead_process_holds_no_lease(
    owner: subprocess.Popen[bytes], lease: lending.Lease, tmp_path: Path
) -> None:
    code = (
        f"import tempfile, time; tempfile.tempdir = {str(tmp_path)!r}\n"
        "from retrace.engines import lending\n"
        "lease = lending.Lease('server'); lease.take()\n"
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    process = start_guard(lease, linger=0.3)
    assert stays(lambda: process.poll() is None, 0.6)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert ends(process)


def test_nothing_is_lent_without_a_running_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(lending.OWNER, "999999999:1")
    assert lending.owner() is None
    lending.become_owner()
    assert lending.owner() == os.environ[lending.OWNER]
    assert os.environ[lending.OWNER].startswith(f"{os.getpid()}:")


def test_a_directory_that_others_can_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"retrace-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"retrace-{os.getuid()}").chmod(0o777)
    with pytest.raises(EngineError, match="open to others"):
        lending.Lease("server")

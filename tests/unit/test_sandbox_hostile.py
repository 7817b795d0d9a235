"""Hostile programs in every mode, as the user of the tests and as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hostile_programs
import pytest

import retrace

NOBODY = 65534
MODES = ("ns+landlock", "ns", "landlock")
LIBRARY = Path(retrace.__file__).parents[1]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


def interpreter_of_everybody() -> str | None:
    """A Python that an ordinary user can run, with a library that it can read."""
    check = (
        f"import sys; sys.path.insert(0, {str(LIBRARY)!r});"
        " assert sys.version_info >= (3, 11); import retrace.sandbox.pool"
    )
    system = shutil.which("python3", path="/usr/bin")
    for python in filter(None, (os.path.realpath(sys.executable), system)):
        try:
            as_nobody([python, "-c", check]).check_returncode()
        except (PermissionError, subprocess.CalledProcessError):
            continue
        return python
    return None


def as_nobody(
    command: list[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def attack(
    python: str, mode: str, folder: Path, port: int, ordinary: bool
) -> dict[str, str]:
    command = [python, "-B", hostile_programs.__file__, mode, str(folder), str(port)]
    environment = {"PYTHONPATH": str(LIBRARY), "HF_TOKEN": "secret-of-the-user"}
    environment["PATH"] = os.environ.get("PATH", os.defpath)
    if not ordinary:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
    else:
        done = as_nobody(command, environment)
    assert done.returncode == 0, done.stderr
    results: dict[str, str] = json.loads(done.stdout)
    return results


def places() -> list[str]:
    found = []
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        if os.path.isdir(place):
            found += [name for name in os.listdir(place) if "hostile-escaped" in name]
    return found


def check(
    python: str, mode: str, folder: Path, listener: socket.socket, ordinary: bool
) -> None:
    (folder / "secret").write_text("ESCAPED")
    folder.chmod(0o777)
    (folder / "secret").chmod(0o666)
    port = listener.getsockname()[1]
    results = attack(python, mode, folder, port, ordinary)
    assert {name: why for name, why in results.items() if why} == {}
    assert set(results) == set(hostile_programs.NAMES)
    assert [path.name for path in folder.iterdir()] == ["secret"]
    assert places() == []
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_there_are_enough_attacks() -> None:
    assert len(hostile_programs.NAMES) >= 45


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_each_attack_is_contained(
    mode: str, tmp_path: Path, listener: socket.socket
) -> None:
    check(sys.executable, mode, tmp_path, listener, ordinary=False)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bwrap is not installed")
def test_each_attack_is_contained_by_bubblewrap(
    tmp_path: Path, listener: socket.socket
) -> None:
    check(sys.executable, "bwrap", tmp_path, listener, ordinary=False)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as an ordinary user")
@pytest.mark.parametrize("mode", MODES)
def test_each_attack_of_an_ordinary_user_is_contained(
    mode: str, listener: socket.socket
) -> None:
    python = interpreter_of_everybody()
    if python is None:
        pytest.skip("no Python 3.11 that an ordinary user can run and import this with")
    folder = Path("/var/tmp") / f"hostile-{os.getpid()}"
    folder.mkdir()
    try:
        check(python, mode, folder, listener, ordinary=True)
    finally:
        shutil.rmtree(folder)

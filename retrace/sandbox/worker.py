"""The pool's side of a worker: start it, talk to it, replace it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from retrace.sandbox import bubblewrap, self_test
from retrace.sandbox.model import (
    Execution,
    Limits,
    Mode,
    Program,
    SandboxError,
    SandboxUnavailableError,
    Settings,
    Stop,
)

_START_S = 60.0
_GRACE_S = 30.0
_MESSAGE_BYTES = 1 << 16
_ERRORS_SHOWN = 4000
_MB = 1 << 20


class WorkerLostError(SandboxError):
    """A worker ended, or stopped answering, while it ran a test."""


class Worker:
    """One fork server and the socket to it. Used by one thread at a time."""

    def __init__(self, mode: Mode, settings: Settings) -> None:
        """Start it.

        Raises:
            SandboxUnavailableError: if it does not start, or fails its self-test.
        """
        self.mode = mode
        self.settings = settings
        self.info: dict[str, Any] = {}
        self.self_test: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._program: Program | None = None
        self._start()

    @property
    def pid(self) -> int | None:
        """The worker's process, or None while there is none."""
        return None if self._process is None else self._process.pid

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = os.memfd_create("worker-errors", os.MFD_CLOEXEC)
        try:
            with theirs:
                self._process = self._spawn(theirs)
            self._socket.settimeout(_START_S)
            self.info = self._receive()
            if "failed" in self.info:
                raise SandboxUnavailableError(self.info["failed"])
            self.self_test = self_test.attack(self._try, self.mode)
        except (OSError, SandboxError) as error:
            said = self._last_words()
            self.close()
            if isinstance(error, OSError):
                error = SandboxUnavailableError(f"can't start a worker: {error}")
            raise SandboxUnavailableError(": ".join([str(error), *said])) from error
        except BaseException:
            self.close()
            raise

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        settings = self.settings
        options = {
            "socket": theirs.fileno(),
            "mode": str(self.mode),
            "modules": list(settings.modules),
        }
        if settings.max_landlock_abi is not None:
            options["max_landlock_abi"] = settings.max_landlock_abi
        # -s -P -B: nothing of the user, nothing of the working folder, no bytecode.
        command = [settings.python, "-s", "-P", "-B", "-c", _BOOTSTRAP]
        command += [str(_library_root()), json.dumps(options)]
        if self.mode is Mode.BWRAP:
            command = [*bubblewrap.prefix(settings.bwrap, _library_root()), *command]
        return subprocess.Popen(
            command,
            pass_fds=(theirs.fileno(),),
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )

    def _last_words(self) -> list[str]:
        """What the worker itself wrote to standard error, if anything."""
        said = os.pread(self._errors, 2000, 0).decode("utf-8", "replace").strip()
        return [said] if said else []

    def close(self) -> None:
        """End the worker and whatever it runs."""
        self._program = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._socket.fileno() >= 0:
            self._socket.close()
            os.close(self._errors)

    def restart(self) -> None:
        """Replace a worker that is lost.

        Raises:
            SandboxUnavailableError: if a new one does not start.
        """
        self.close()
        self._start()

    def run_test(
        self, program: Program, data: bytes | str, limits: Limits
    ) -> Execution:
        """Run a program on an input, in a process of its own.

        Raises:
            SandboxError: if the worker is lost, or can't be started again.
        """
        if self._process is None:
            self._start()
        if self._program is not program:
            self._begin(program)
        self._socket.settimeout(limits.wall_s + _GRACE_S)
        with _MemoryFile(data) as given, _MemoryFile() as out, _MemoryFile() as err:
            self._send({"limits": asdict(limits)}, [given, out, err])
            result = self._receive()
            return _execution(result, limits, out, err)

    def _begin(self, program: Program) -> None:
        """Send the program whose tests follow."""
        header = asdict(program)
        source = header.pop("source")
        self._socket.settimeout(_START_S)
        with _MemoryFile(source) as file:
            self._send({"program": header}, [file])
        self._receive()
        self._program = program

    def _try(self, source: str, inputs: list[bytes], limits: Limits) -> list[Execution]:
        program = Program(source=source)
        return [self.run_test(program, data, limits) for data in inputs]

    def _send(self, message: dict[str, Any], files: list[_MemoryFile]) -> None:
        data = json.dumps(message).encode()
        try:
            socket.send_fds(self._socket, [data], [file.fd for file in files])
        except OSError as error:
            raise WorkerLostError(f"a sandbox worker is gone ({error})") from error

    def _receive(self) -> dict[str, Any]:
        try:
            data = self._socket.recv(_MESSAGE_BYTES)
        except TimeoutError as error:
            raise WorkerLostError("a sandbox worker does not answer") from error
        except OSError as error:
            raise WorkerLostError(f"a sandbox worker is gone ({error})") from error
        if not data:
            raise WorkerLostError("a sandbox worker ended unexpectedly")
        message: dict[str, Any] = json.loads(data)
        if "broken" in message:
            raise WorkerLostError(f"the sandbox failed: {message['broken']}")
        return message


class _MemoryFile:
    """An anonymous file in memory: sealed with its content, or empty and writable."""

    def __init__(self, content: bytes | str | None = None) -> None:
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        self.fd = os.memfd_create("retrace", flags)
        if content is None:
            return
        for part in _encoded(content):
            view = memoryview(part)
            while view:
                view = view[os.write(self.fd, view) :]
        os.lseek(self.fd, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def read(self, start: int = 0) -> bytes:
        return os.pread(self.fd, max(self.size() - start, 0), start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        os.close(self.fd)


def _encoded(content: bytes | str) -> Iterator[bytes]:
    """UTF-8 in parts: a copy of a text of 100 MB would be as large again."""
    if isinstance(content, bytes):
        yield content
        return
    for start in range(0, len(content), _MB):
        yield content[start : start + _MB].encode("utf-8", "surrogatepass")


def _execution(
    result: dict[str, Any], limits: Limits, output: _MemoryFile, errors: _MemoryFile
) -> Execution:
    full = limits.output_mb * _MB
    start = max(errors.size() - _ERRORS_SHOWN, 0)
    return Execution(
        stop=Stop(result["stop"]),
        code=result["code"],
        output=output.read(),
        errors=errors.read(start).decode("utf-8", "replace"),
        cpu_s=result["cpu_s"],
        wall_s=result["wall_s"],
        peak_mb=result["peak_mb"],
        output_full=max(output.size(), errors.size()) >= full,
    )


def _library_root() -> Path:
    return Path(__file__).resolve().parents[2]


_BOOTSTRAP = (
    "import sys, json; sys.path.insert(0, sys.argv[1]);"
    " from retrace.sandbox import server; del sys.path[0];"
    " server.main(json.loads(sys.argv[2]))"
)


def _environment() -> dict[str, str]:
    """All that a worker knows of the environment, and more than a program will."""
    fixed = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/",
        "PYTHONHASHSEED": "0",
        # One thread each: libraries must not start their own before the fork.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        # Arenas reserve address space, which is what the memory limit counts.
        "MALLOC_ARENA_MAX": "2",
    }
    with suppress(KeyError):  # where the interpreter's own libraries may lie
        fixed["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return fixed

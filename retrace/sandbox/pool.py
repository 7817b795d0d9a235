"""A pool of workers, each a fork server that confines what it runs."""

from __future__ import annotations

import fcntl
import json
import os
import queue
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from retrace.sandbox import bubblewrap, self_test
from retrace.sandbox.diagnosis import explain_refusal
from retrace.sandbox.model import (
    Execution,
    Limits,
    Mode,
    Program,
    Report,
    SandboxError,
    SandboxUnavailableError,
    Stop,
)

UNSANDBOXED_VARIABLE = "RETRACE_ALLOW_UNSANDBOXED"
_PREFERENCE = (Mode.NS_LANDLOCK, Mode.NS, Mode.LANDLOCK)
_START_S = 60.0
_GRACE_S = 30.0
_MESSAGE_BYTES = 1 << 16
_ERRORS_SHOWN = 4000
_MB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """How a pool confines programs.

    Attributes:
        mode: the mode to use, or None for the strongest that the node offers. `bwrap`
            and `unsandboxed` are used only when named.
        modules: what programs may import beside the standard library.
        bwrap: the bubblewrap command of mode `bwrap`.
        python: the interpreter that runs programs.
        max_landlock_abi: behave as on a kernel with an older Landlock.
    """

    mode: Mode | None = None
    modules: tuple[str, ...] = ()
    bwrap: str = "bwrap"
    python: str = field(default_factory=lambda: sys.executable)
    max_landlock_abi: int | None = None


class Pool:
    """Runs programs on `workers` fork servers, from as many threads as one likes.

    Raises:
        SandboxUnavailableError: on entering, if no mode confines, or one fails its own
            self-test; the text says what was tried and what an administrator can do.
    """

    def __init__(self, settings: Settings | None = None, workers: int = 1) -> None:
        self.settings = settings or Settings()
        self.workers = workers
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: list[_Worker] = []
        self._report: Report | None = None

    @property
    def report(self) -> Report:
        """How programs are confined. There is none before the pool is entered."""
        if self._report is None:
            raise SandboxError("the pool is not running: enter it first")
        return self._report

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and everything that they run."""
        for worker in self._all:
            worker.close()
        self._all.clear()
        self._idle = queue.SimpleQueue()

    @contextmanager
    def open(self) -> Iterator[Session]:
        """A worker of one's own; waits until one is idle. Threads may each hold one."""
        worker = self._idle.get()
        try:
            yield Session(worker)
        finally:
            try:
                worker.finish_program()
            finally:
                self._idle.put(worker)

    def _start(self) -> None:
        mode, first, refused = self._first_worker()
        self._admit(first)
        while len(self._all) < self.workers:
            self._admit(_Worker(mode, self.settings))
        info = first.info
        self._report = Report(
            mode=mode,
            landlock_abi=info["landlock_abi"],
            self_test=first.self_test,
            modules=info["modules"],
            python=info["python"],
            refused=refused,
        )

    def _admit(self, worker: _Worker) -> None:
        self._all.append(worker)
        self._idle.put(worker)

    def _first_worker(self) -> tuple[Mode, _Worker, dict[str, str]]:
        """Start a worker in the first mode that works; why others were passed over."""
        wanted = self.settings.mode
        if wanted is Mode.UNSANDBOXED:
            _require_consent()
        refused: dict[str, str] = {}
        for mode in [wanted] if wanted else _PREFERENCE:
            try:
                return mode, _Worker(mode, self.settings), refused
            except SandboxUnavailableError as error:
                refused[str(mode)] = str(error)
        raise SandboxUnavailableError(explain_refusal(refused, UNSANDBOXED_VARIABLE))


@dataclass
class Usage:
    """The most that any run of a session used."""

    runs: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_mb: float = 0.0
    output_bytes: int = 0

    def add(self, execution: Execution) -> None:
        self.runs += 1
        self.cpu_s = max(self.cpu_s, execution.cpu_s)
        self.wall_s = max(self.wall_s, execution.wall_s)
        self.peak_mb = max(self.peak_mb, execution.peak_mb)
        self.output_bytes = max(self.output_bytes, len(execution.output))


class Session:
    """The use of one worker."""

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker
        self.usage = Usage()

    def run(
        self, program: Program, data: bytes, limits: Limits | None = None
    ) -> Execution:
        """Run a program on one input, in a fresh process.

        Runs of the same `Program` object, one after another, share its confinement. A
        worker that dies is replaced, and the test is run once more.

        Raises:
            SandboxError: if that happens twice, or a new worker does not start.
        """
        limits = limits or Limits()
        try:
            execution = self._attempt(program, data, limits)
        except WorkerLostError:
            self._worker.restart()
        else:
            if execution.stop is not Stop.KILLED:
                return execution
        try:
            return self._attempt(program, data, limits)
        except WorkerLostError:
            self._worker.restart()
            raise

    def _attempt(self, program: Program, data: bytes, limits: Limits) -> Execution:
        self._worker.begin_program(program)
        execution = self._worker.run_test(data, limits)
        self.usage.add(execution)
        return execution


def _require_consent() -> None:
    if os.environ.get(UNSANDBOXED_VARIABLE) != "1":
        raise SandboxUnavailableError(
            "mode 'unsandboxed' runs untrusted programs with all your rights. The"
            f" config asks for it, but {UNSANDBOXED_VARIABLE}=1 is not set in the"
            " environment: set it if this machine holds nothing of value, else take"
            " the mode out of the config"
        )


class WorkerLostError(SandboxError):
    """A worker ended, or stopped answering, while it ran a test."""


class _Worker:
    """One fork server and the socket to it. Used by one thread at a time."""

    def __init__(self, mode: Mode, settings: Settings) -> None:
        self.mode = mode
        self.settings = settings
        self._program: Program | None = None
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        with theirs:
            try:
                self._process = self._spawn(theirs)
            except OSError as error:
                ours.close()
                raise SandboxUnavailableError(
                    f"can't start a worker: {error}"
                ) from error
        self._program = None
        ours.settimeout(_START_S)
        try:
            self.info = self._receive()
        except WorkerLostError as error:
            self.close()
            said = self._last_words()
            raise SandboxUnavailableError(
                f"{error}{': ' if said else ''}{said}"
            ) from error
        if "failed" in self.info:
            self.close()
            raise SandboxUnavailableError(self.info["failed"])
        try:
            self.self_test = self_test.attack(self._try, self.mode)
        except SandboxError as error:
            self.close()
            raise SandboxUnavailableError(str(error)) from error

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
        self._errors = os.memfd_create("worker-errors", os.MFD_CLOEXEC)
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

    def _last_words(self) -> str:
        return os.pread(self._errors, 2000, 0).decode("utf-8", "replace").strip()

    def restart(self) -> None:
        """Replace a worker that is lost.

        Raises:
            SandboxError: if a new one does not start.
        """
        self.close()
        os.close(self._errors)
        self._start()

    def close(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def begin_program(self, program: Program) -> None:
        """Open a confinement for a program, unless its own is open already."""
        if self._program is program:
            return
        self.finish_program()
        header = {
            "kind": program.kind,
            "entry": program.entry,
            "prelude": program.prelude,
            "detached": program.detached,
            "wrap": program.wrap,
        }
        self._socket.settimeout(_START_S)
        source = program.source.encode("utf-8", "surrogatepass")
        with _MemoryFile(source) as file:
            self._send({"program": header}, [file])
        self._receive()
        self._program = program

    def finish_program(self) -> None:
        if self._program is None:
            return
        self._program = None
        try:
            self._send({"done": True}, [])
            self._receive()
        except SandboxError:
            self.restart()

    def run_test(self, data: bytes, limits: Limits) -> Execution:
        self._socket.settimeout(limits.wall_s + _GRACE_S)
        with _MemoryFile(data) as given, _MemoryFile() as out, _MemoryFile() as err:
            self._send({"limits": asdict(limits)}, [given, out, err])
            result = self._receive()
            return _execution(result, limits, out, err)

    def _try(self, source: str, inputs: list[bytes], limits: Limits) -> list[Execution]:
        program = Program(source=source)
        self.begin_program(program)
        results = [self.run_test(data, limits) for data in inputs]
        self.finish_program()
        return results

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
        if "lost" in message:
            raise WorkerLostError(message["lost"])
        if "broken" in message:
            raise WorkerLostError(f"the sandbox failed: {message['broken']}")
        return message


class _MemoryFile:
    """An anonymous file in memory: sealed with its content, or empty and writable."""

    def __init__(self, content: bytes | None = None) -> None:
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        self.fd = os.memfd_create("retrace", flags)
        if content is None:
            return
        view = memoryview(content)
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

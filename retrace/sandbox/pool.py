"""A pool of workers, each a fork server that confines what it runs."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from retrace.sandbox.diagnosis import explain_refusal
from retrace.sandbox.model import (
    Execution,
    Limits,
    Mode,
    Program,
    Report,
    SandboxError,
    SandboxUnavailableError,
    Settings,
    Stop,
)
from retrace.sandbox.worker import Worker, WorkerLostError

UNSANDBOXED_VARIABLE = "RETRACE_ALLOW_UNSANDBOXED"
_PREFERENCE = (Mode.NS_LANDLOCK, Mode.NS, Mode.LANDLOCK)


class Pool:
    """Runs programs on `workers` fork servers, from as many threads as one likes.

    Raises:
        SandboxUnavailableError: on entering, if no mode confines, or one fails its own
            self-test; the text says what was tried and what an administrator can do.
    """

    def __init__(self, settings: Settings | None = None, workers: int = 1) -> None:
        self.settings = settings or Settings()
        self.workers = workers
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._all: list[Worker] = []
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
            self._idle.put(worker)

    def _start(self) -> None:
        mode, first, refused = self._first_worker()
        self._admit(first)
        while len(self._all) < self.workers:
            self._admit(Worker(mode, self.settings))
        info = first.info
        self._report = Report(
            mode=mode,
            landlock_abi=info["landlock_abi"],
            self_test=first.self_test,
            modules=info["modules"],
            python=info["python"],
            refused=refused,
        )

    def _admit(self, worker: Worker) -> None:
        self._all.append(worker)
        self._idle.put(worker)

    def _first_worker(self) -> tuple[Mode, Worker, dict[str, str]]:
        """Start a worker in the first mode that works; why others were passed over."""
        wanted = self.settings.mode
        if wanted is Mode.UNSANDBOXED:
            _require_consent()
        refused: dict[str, str] = {}
        for mode in [wanted] if wanted else _PREFERENCE:
            try:
                return mode, Worker(mode, self.settings), refused
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

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.usage = Usage()

    def run(
        self, program: Program, data: bytes | str, limits: Limits | None = None
    ) -> Execution:
        """Run a program on one input, in a fresh process.

        A worker that dies is replaced, and the test is run once more.

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

    def _attempt(
        self, program: Program, data: bytes | str, limits: Limits
    ) -> Execution:
        execution = self._worker.run_test(program, data, limits)
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

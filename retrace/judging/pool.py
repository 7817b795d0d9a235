"""Worker processes for work that may hang, grow or crash.

Each worker is a fresh interpreter started with `subprocess`, so a pool works the same
from a thread, from a daemonic process or inside a job, whatever the main module is. A
worker that dies costs the item it was at, never the batch: the rest goes to the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

BATCH = 32
"""Items a worker gets at once: enough that the pipe costs little beside the work."""

ITEMS_BEFORE_RECYCLING = 20_000
"""A worker is replaced after so many items, because sympy's caches only grow."""

CLOCK_FACTOR = 12.0
"""The clock may run so many times longer than the CPU limit before a worker is killed:
only a worker that sleeps or starves meets this limit."""


T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What became of one item: a value, or a failure and its one-line detail."""

    value: Any = None
    failure: str = ""
    detail: str = ""


class WorkerError(RuntimeError):
    """Workers do not even start: the environment is broken, not an item."""


@dataclass
class _Item:
    arguments: list[Any]
    tries: int = 0
    outcome: Outcome | None = None


@dataclass
class _Entry:
    tag: Any
    item: _Item | None


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    heard: float
    batch: deque[_Item] = field(default_factory=deque)
    buffer: bytes = b""
    ready: bool = False
    killed: bool = False
    done: int = 0


class Pool:
    """Runs `target` ("module:function") over JSON arguments in capped processes.

    Args:
        workers: how many processes at most; they start when first needed.
        cpu_seconds: what one item may use, in whole CPU seconds.
        memory_mb: the cap on a worker's address space.
        preload: modules a worker imports before its first item, so that their
            import is not charged to that item.
    """

    def __init__(
        self,
        target: str,
        workers: int = 1,
        cpu_seconds: float = 5.0,
        memory_mb: int = 512,
        preload: Sequence[str] = (),
    ) -> None:
        self._setup = {
            "target": target,
            "cpu_seconds": cpu_seconds,
            "memory_mb": memory_mb,
            "preload": list(preload),
        }
        self._limit = max(1, workers)
        self._seconds = CLOCK_FACTOR * cpu_seconds
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in list(self._workers):
            self._end(worker)
        self._selector.close()

    def run(
        self, entries: Iterable[tuple[T, list[Any] | None]]
    ) -> Iterator[tuple[T, Outcome]]:
        """Yield (tag, outcome) in the order given.

        An entry is a tag, which comes back untouched, and the arguments of one call, or
        None where there is nothing to run, and then the outcome is empty. At most a
        few batches are read ahead.

        Raises:
            WorkerError: when workers die before they are ready to work.
        """
        source = iter(entries)
        window: deque[_Entry] = deque()
        queue: deque[_Item] = deque()
        ahead = BATCH * (2 * self._limit + 2)
        more = True
        while more or window:
            while more and len(window) < ahead:
                entry = next(source, None)
                if entry is None:
                    more = False
                    break
                item = None if entry[1] is None else _Item(entry[1])
                window.append(_Entry(entry[0], item))
                if item is not None:
                    queue.append(item)
                    if len(queue) >= BATCH and len(window) >= BATCH * self._limit:
                        break
            self._dispatch(queue)
            while window and (
                window[0].item is None or window[0].item.outcome is not None
            ):
                first = window.popleft()
                outcome = first.item.outcome if first.item else None
                yield first.tag, outcome or Outcome()
            if window and (not more or len(window) >= ahead or self._all_busy()):
                self._listen(queue)

    def _all_busy(self) -> bool:
        busy = sum(1 for worker in self._workers if worker.batch)
        return busy >= self._limit

    def _dispatch(self, queue: deque[_Item]) -> None:
        while queue:
            worker = next((w for w in self._workers if not w.batch), None)
            if worker is None:
                if len(self._workers) >= self._limit:
                    return
                worker = self._start()
            share = -(-len(queue) // self._limit)
            count = min(BATCH, max(1, share))
            for _ in range(min(count, len(queue))):
                worker.batch.append(queue.popleft())
            worker.heard = time.monotonic()
            self._send(worker, [item.arguments for item in worker.batch])

    def _start(self) -> _Worker:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "PYTHONHASHSEED": "0",  # sympy's order of terms depends on it
            "OMP_NUM_THREADS": "1",
        }
        # In memory, so that a full /tmp changes nothing; closed with the worker.
        errors = os.fdopen(os.memfd_create("errors", os.MFD_CLOEXEC), "w+b")
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "retrace.judging.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        worker = _Worker(process, errors, time.monotonic())
        self._workers.append(worker)
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        self._send(worker, self._setup)
        return worker

    def _send(self, worker: _Worker, message: Any) -> None:
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.write(json.dumps(message).encode() + b"\n")
            worker.process.stdin.flush()
        except BrokenPipeError:
            # The end of its standard output says so too, and is dealt with there.
            worker.heard = time.monotonic()

    def _listen(self, queue: deque[_Item]) -> None:
        """Wait for replies, and end what has been silent for too long."""
        for key, _events in self._selector.select(timeout=0.2):
            worker: _Worker = key.data
            assert worker.process.stdout is not None
            data = os.read(worker.process.stdout.fileno(), 1 << 16)
            if not data:
                self._bury(worker, queue)
                continue
            worker.heard = time.monotonic()
            *lines, worker.buffer = (worker.buffer + data).split(b"\n")
            alive = all(self._take(worker, json.loads(line), queue) for line in lines)
            spent = not worker.batch and worker.done >= ITEMS_BEFORE_RECYCLING
            if not alive or spent:
                self._end(worker)
        now = time.monotonic()
        for worker in self._workers:
            if worker.batch and now - worker.heard > self._seconds + 60.0:
                worker.killed = True
                worker.process.kill()

    def _take(
        self, worker: _Worker, reply: dict[str, Any], queue: deque[_Item]
    ) -> bool:
        """Note one reply. False when the worker is not fit for another item."""
        if "ready" in reply:
            worker.ready = True
            self._failed_starts = 0
            return True
        item = worker.batch.popleft()
        worker.done += 1
        failure = str(reply.get("failure", ""))
        detail = str(reply.get("detail", ""))
        if failure == "memory_limit":
            self._return(worker, queue)
            if worker.done > 1 and item.tries == 0:
                # What came before may have filled the memory: try it alone, once.
                item.tries = 1
                queue.appendleft(item)
                return False
        item.outcome = Outcome(reply.get("value"), failure, detail)
        return failure != "memory_limit"

    def _bury(self, worker: _Worker, queue: deque[_Item]) -> None:
        """A worker has died: settle the item it was at, give back the rest."""
        code = self._end(worker, grace=5.0)
        if not worker.ready:
            self._failed_starts += 1
            self._return(worker, queue)
            if self._failed_starts >= 3:
                raise WorkerError(
                    f"a judging worker ended with code {code} before its first item:"
                    f" {worker.buffer.decode(errors='replace')[-500:]}"
                )
            return
        if not worker.batch:
            return
        item = worker.batch.popleft()
        if code == -signal.SIGXCPU or worker.killed:
            item.outcome = Outcome(failure="timeout", detail="the time limit was met")
        elif worker.done and item.tries == 0:
            item.tries = 1
            worker.batch.appendleft(item)
        else:
            memory = code in (-signal.SIGABRT, -signal.SIGKILL)
            item.outcome = Outcome(
                failure="memory_limit" if memory else "judge_error",
                detail=f"the worker ended with code {code}",
            )
        self._return(worker, queue)

    def _return(self, worker: _Worker, queue: deque[_Item]) -> None:
        queue.extendleft(reversed(worker.batch))
        worker.batch.clear()

    def _end(self, worker: _Worker, grace: float = 0.0) -> int:
        """Stop a worker for good; its last words on stderr end up in `buffer`.

        A worker that has closed its output gets `grace` seconds to leave by itself,
        because the code it leaves with says why.
        """
        self._workers.remove(worker)
        process = worker.process
        assert process.stdin is not None
        assert process.stdout is not None
        self._selector.unregister(process.stdout)
        try:
            code = process.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        process.stdout.close()
        # What was not sent belongs to a batch that is sent again.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        worker.errors.seek(0)
        worker.buffer = worker.errors.read()[-2000:]
        worker.errors.close()
        return code

"""The child side of `retrace.judging.pool`: one process that may be killed at any time.

Reads a line of JSON that says what to run, then a line for each batch of arguments, and
answers a line for each item. The kernel enforces the limits, so no input can get past
them: a cap on the address space for the whole process, and a cap on CPU seconds that
moves on with every item. CPU seconds, not a clock, so a busy machine judges alike.
"""

from __future__ import annotations

import gc
import importlib
import json
import math
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def main() -> None:
    """Serve batches until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    setup = json.loads(sys.stdin.buffer.readline())
    _limit_memory(setup["memory_mb"])
    _leave_with_parent(os.getppid())
    for module in setup["preload"]:
        importlib.import_module(module)
    module, _, name = setup["target"].partition(":")
    target = getattr(importlib.import_module(module), name)
    replies.write(b'{"ready": true}\n')
    for line in sys.stdin.buffer:
        for arguments in json.loads(line):
            _limit_seconds(setup["cpu_seconds"])
            replies.write(_reply(target, arguments))


@contextmanager
def uncharged() -> Iterator[None]:
    """What runs inside, such as a first import, does not count as the item's time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft == resource.RLIM_INFINITY:
        yield
        return
    start = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
    try:
        yield
    finally:
        spent = math.ceil(time.process_time() - start)
        resource.setrlimit(resource.RLIMIT_CPU, (soft + spent, hard))


def _reply(target: Callable[..., Any], arguments: list[Any]) -> bytes:
    """The value, or the failure, as a line of JSON."""
    try:
        return json.dumps({"value": target(*arguments)}).encode() + b"\n"
    except MemoryError:
        gc.collect()
        reply = {"failure": "memory_limit", "detail": "the memory cap was reached"}
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"
        reply = {"failure": "judge_error", "detail": detail[:200]}
    return json.dumps(reply).encode() + b"\n"


def _limit_memory(megabytes: int) -> None:
    size = megabytes * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_seconds(seconds: float) -> None:
    """Let the kernel end this process after so many more CPU seconds, rounded up."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = math.ceil(time.process_time() + seconds)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def _leave_with_parent(parent: int) -> None:
    """End this process soon after its parent was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()

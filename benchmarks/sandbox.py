"""How many executions per second and core the sandbox manages, against bare Python.

    python benchmarks/sandbox.py [--bwrap COMMAND] [--json]

All methods run the same program, which doubles a number, with and without the imports
of a typical contest program, one at a time on one worker, in turns, so that a busy
machine slows all of them alike. A rate is that of a method's best turn.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from retrace.sandbox import bubblewrap
from retrace.sandbox.model import Mode, Program, SandboxUnavailableError, Settings
from retrace.sandbox.pool import Pool

IMPORTS = (
    "import math, sys, re, json, heapq, bisect, itertools, functools, collections,"
    " random, string, datetime, decimal, fractions, typing, copy\n"
)
DOUBLE = "print(int(input()) * 2)"
MODES = (Mode.NS_LANDLOCK, Mode.NS, Mode.LANDLOCK)


@dataclass
class Method:
    """A way to run the program; `run` makes one execution and returns its output."""

    name: str
    run: Callable[[], bytes]
    best: float = 0.0

    def turn(self, number: int) -> None:
        start = time.monotonic()
        for _ in range(number):
            output = self.run()
            assert output == b"42\n", output
        self.best = max(self.best, number / (time.monotonic() - start))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bwrap", default="bwrap", help="bubblewrap's command")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--runs", type=int, default=20, help="executions in a turn")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with ExitStack() as stack:
        methods = [*_bare(), *_bwrapped(options.bwrap)]
        memory: dict[str, float] = {}
        for mode in MODES:
            try:
                methods += stack.enter_context(_pooled(mode, memory))
            except SandboxUnavailableError as error:
                print(f"mode {mode} is not available: {error}", file=sys.stderr)
        for _ in range(options.turns):
            for method in methods:
                method.turn(options.runs)
    result = {
        "per_second": {method.name: round(method.best, 1) for method in methods},
        "worker_pss_mb": memory,
    }
    print(json.dumps(result) if options.json else _table(result))
    return 0


def _bare() -> Iterator[Method]:
    python = [sys.executable, "-I"]
    yield _command("python -I", [*python, "-c", DOUBLE])
    yield _command("python -I, imports", [*python, "-c", IMPORTS + DOUBLE])


def _bwrapped(bwrap: str) -> Iterator[Method]:
    if shutil.which(bwrap) is None:
        print(f"{bwrap} is not here: not measured", file=sys.stderr)
        return
    before = bubblewrap.prefix(bwrap, Path(__file__).resolve().parents[1])
    command = [*before, sys.executable, "-I", "-c", IMPORTS + DOUBLE]
    yield _command("bwrap python -I, imports", command)


def _command(name: str, command: list[str]) -> Method:
    def run() -> bytes:
        done = subprocess.run(command, input=b"21\n", capture_output=True, check=True)
        return done.stdout

    return Method(name, run)


@contextmanager
def _pooled(mode: Mode, memory: dict[str, float]) -> Iterator[list[Method]]:
    settings = Settings(mode=mode, modules=("numpy",))
    with Pool(settings) as pool, pool.open() as session:
        fixed = Program(IMPORTS + DOUBLE)
        session.run(fixed, b"21\n")
        worker = pool._all[0].pid

        def a_program() -> bytes:
            return session.run(Program(IMPORTS + DOUBLE), b"21\n").output

        def a_test() -> bytes:
            return session.run(fixed, b"21\n").output

        memory[str(mode)] = _pss_mb(worker)
        yield [
            Method(f"{mode}: a program a run, imports", a_program),
            Method(f"{mode}: tests of one program, imports", a_test),
        ]


def _pss_mb(worker: int | None) -> float:
    """Memory of a worker's processes, what they share counted once."""
    total = 0
    for pid in [worker, *_children(worker)]:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(text.partition("\nPss:")[2].split()[0])
    return round(total / 1024, 1)


def _children(pid: int | None) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _table(result: dict[str, dict[str, float]]) -> str:
    lines = [f"{'method, one worker':44s} runs/s"]
    for name, rate in result["per_second"].items():
        lines.append(f"{name:44s} {rate:6.1f}")
    for mode, size in result["worker_pss_mb"].items():
        lines.append(f"memory of a worker, {mode}, numpy loaded: {size} MB")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

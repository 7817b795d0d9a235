"""How many executions per second and core the sandbox manages, against bare Python.

    python benchmarks/sandbox.py [--bwrap COMMAND] [--json]

All methods run the same program, which doubles a number, with and without the imports
of a typical contest program, one at a time on one worker, in turns, so that a busy
machine slows all of them alike. A rate is that of a method's best turn. CPU time counts
the processes of an execution and the benchmark's own part in it; a core that does
nothing else does 1000 / CPU ms executions a second. (bwrap's is not to be had: its
children are not its caller's.) Bare Python is the interpreter without its virtual
environment, and once more without its site-packages (-S), whose start may take longer
than Python's. What no sandbox of one process a test can be faster than on a machine is
the fork of a process of that size that ends at once.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrace.sandbox import bubblewrap, linux
from retrace.sandbox.model import Mode, Program, SandboxUnavailableError, Settings
from retrace.sandbox.pool import Pool
from retrace.sandbox.prelude import preload

IMPORTS = (
    "import math, sys, re, json, heapq, bisect, itertools, functools, collections,"
    " random, string, datetime, decimal, fractions, typing, copy\n"
)
MODULES = ("numpy",)
DOUBLE = "print(int(input()) * 2)"
# Not the virtual environment's: what its site-packages do at a start is not Python's.
PYTHON = os.path.realpath(sys.executable)
MODES = (Mode.NS_LANDLOCK, Mode.NS, Mode.LANDLOCK)


@dataclass
class Method:
    """A way to run the program.

    `run` makes one execution and returns its output; `cpu` reads the CPU seconds that
    executions have used so far, where that can be known.
    """

    name: str
    run: Callable[[], bytes]
    cpu: Callable[[], float] | None
    best: float = 0.0
    runs: int = 0
    cpu_s: float = 0.0

    def turn(self, number: int) -> None:
        start, cpu = time.monotonic(), self.cpu() if self.cpu else 0.0
        for _ in range(number):
            output = self.run()
            assert output == b"42\n", output
        self.best = max(self.best, number / (time.monotonic() - start))
        self.cpu_s += self.cpu() - cpu if self.cpu else 0.0
        self.runs += number

    def record(self) -> dict[str, float | None]:
        cpu_ms = round(1000 * self.cpu_s / self.runs, 2) if self.cpu else None
        return {"per_second": round(self.best, 1), "cpu_ms": cpu_ms}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bwrap", default="bwrap", help="bubblewrap's command")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--runs", type=int, default=20, help="executions in a turn")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with ExitStack() as stack:
        methods = [*_bare(), *_bwrapped(options.bwrap), _fork()]
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
        "methods": {method.name: method.record() for method in methods},
        "worker_pss_mb": memory,
    }
    print(json.dumps(result) if options.json else _table(result))
    return 0


def _bare() -> Iterator[Method]:
    python = [PYTHON, "-I"]
    yield _command("python -I", [*python, "-c", DOUBLE])
    yield _command("python -I, imports", [*python, "-c", IMPORTS + DOUBLE])
    yield _command("python -I -S, imports", [*python, "-S", "-c", IMPORTS + DOUBLE])


def _bwrapped(bwrap: str) -> Iterator[Method]:
    if shutil.which(bwrap) is None:
        print(f"{bwrap} is not here: not measured", file=sys.stderr)
        return
    before = bubblewrap.prefix(bwrap, Path(__file__).resolve().parents[1])
    command = [*before, PYTHON, "-I", "-c", IMPORTS + DOUBLE]
    yield Method("bwrap python -I, imports", _command("", command).run, None)


def _fork() -> Method:
    preload(MODULES)
    gc.freeze()

    def run() -> bytes:
        child = linux.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return b"42\n"

    return Method("fork and exit, modules loaded", run, _own_cpu)


def _command(name: str, command: list[str]) -> Method:
    def run() -> bytes:
        done = subprocess.run(command, input=b"21\n", capture_output=True, check=True)
        return done.stdout

    return Method(name, run, _own_cpu)


@contextmanager
def _pooled(mode: Mode, memory: dict[str, float]) -> Iterator[list[Method]]:
    settings = Settings(mode=mode, modules=MODULES)
    with Pool(settings) as pool, pool.open() as session:
        fixed, trivial = Program(IMPORTS + DOUBLE), Program(DOUBLE)
        session.run(fixed, b"21\n")
        worker = pool._all[0].pid

        def cpu() -> float:
            return _own_cpu() + sum(map(_cpu_of, [worker, *_children(worker)]))

        def a_program() -> bytes:
            return session.run(Program(IMPORTS + DOUBLE), b"21\n").output

        def a_test() -> bytes:
            return session.run(fixed, b"21\n").output

        def a_trivial_test() -> bytes:
            return session.run(trivial, b"21\n").output

        memory[str(mode)] = _pss_mb(worker)
        yield [
            Method(f"{mode}: a program a run, imports", a_program, cpu),
            Method(f"{mode}: tests of one program, imports", a_test, cpu),
            Method(f"{mode}: tests of one program", a_trivial_test, cpu),
        ]


def _own_cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _cpu_of(pid: int | None) -> float:
    """CPU seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


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


def _table(result: dict[str, Any]) -> str:
    lines = [f"{'method, one worker':44s} runs/s  CPU ms"]
    for name, record in result["methods"].items():
        cpu = "-" if record["cpu_ms"] is None else f"{record['cpu_ms']:.2f}"
        lines.append(f"{name:44s} {record['per_second']:6.1f}  {cpu:>6s}")
    for mode, size in result["worker_pss_mb"].items():
        lines.append(f"memory of a worker, {mode}, numpy loaded: {size} MB")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

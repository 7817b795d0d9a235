"""The process that runs one test of an untrusted program, and never returns.

It closes every file but its input, output and errors, sets limits, gives up the rights
that the server still had, and only then compiles and runs the source. Expected outputs
are never in its memory.

A fork copies each page of memory that either side writes to, and that is most of what
a short program costs. So whatever is the same for all jails is done by `prepare`, once
and in the server.
"""

from __future__ import annotations

import _thread
import ast
import atexit
import builtins
import io
import linecache
import os
import random
import resource
import signal
import sys
import threading
import traceback
import types
from _io import _IOBase
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from retrace.sandbox import encoding, linux
from retrace.sandbox.model import Exit, Limits, Program
from retrace.sandbox.seccomp import Filter, Prepared

_MB = 1 << 20
_STACK = 112 * _MB  # the kernel leaves a gap of 128 MB below the stack
_FILE_NAME = "main.py"
_READY = b"confined"
# Links into /proc, which is missing.
_STANDARD_FILES = {
    "/dev/stdin": 0,
    "/dev/fd/0": 0,
    "/proc/self/fd/0": 0,
    "/dev/stdout": 1,
    "/dev/stderr": 2,
}

Ceiling = tuple[int, int]


@dataclass(frozen=True)
class Confinement:
    """What a worker has prepared once for all its jails."""

    filter: Prepared | None
    """None where nothing is confined."""
    base_memory: int
    """Address space, in bytes, that a jail starts with: limits come on top."""
    count_threads: bool
    prelude: dict[str, Any]
    streams: Sequence[io.TextIOWrapper]
    """Over descriptors 1 and 2, which are other files in each jail."""


def prepare(
    confined: bool, base_memory: int, count_threads: bool, prelude: dict[str, Any]
) -> Confinement:
    """Make the calling process what a program finds, but for rights and limits."""
    for number in (signal.SIGINT, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    sys.argv = [_FILE_NAME]
    sys.set_int_max_str_digits(0)
    random.seed(0)
    os.register_at_fork(after_in_child=lambda: random.seed(0))
    io.open = builtins.open = _opener(builtins.open)
    return Confinement(
        filter=Prepared(Filter()) if confined else None,
        base_memory=base_memory,
        count_threads=count_threads,
        prelude=prelude,
        streams=_open_streams(),
    )


def ceilings(limits: Limits, confinement: Confinement) -> list[tuple[int, Ceiling]]:
    """The resource limits of a jail, no higher than those of the calling process."""
    wanted = {
        resource.RLIMIT_CPU: int(limits.cpu_s) + 2,  # behind the supervisor, finer
        resource.RLIMIT_AS: confinement.base_memory + limits.memory_mb * _MB,
        resource.RLIMIT_FSIZE: limits.output_mb * _MB,
        resource.RLIMIT_NOFILE: 128,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if confinement.count_threads:
        wanted[resource.RLIMIT_NPROC] = limits.threads
    found = [(name, (_most(name, value),) * 2) for name, value in wanted.items()]
    stack = resource.getrlimit(resource.RLIMIT_STACK)[1]
    found.append((resource.RLIMIT_STACK, (_most(resource.RLIMIT_STACK, _STACK), stack)))
    return found


def run(
    program: Program,
    limits: Sequence[tuple[int, Ceiling]],
    confinement: Confinement,
    files: Sequence[int],
    ready: int,
) -> NoReturn:
    """Confine this process, say so on `ready`, run the program and exit.

    Args:
        limits: from `ceilings`.
        files: input, output and errors. For a script they are 0, 1 and 2. Otherwise
            what the program prints goes to errors, and its value to the output.
    """
    try:
        output = _confine(program, limits, confinement, files, ready)
    except BaseException as error:
        os.write(ready, f"{type(error).__name__}: {error}"[:500].encode())
        os._exit(1)
    code = 1
    try:
        code = _run(program, output, confinement)
    finally:  # whatever a program has done to its errors: this process never returns
        os._exit(code)


def has_confined(message: bytes) -> bool:
    """Whether a jail's message says that its program ran confined."""
    return message == _READY


def _most(name: int, value: int) -> int:
    hard = resource.getrlimit(name)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _confine(
    program: Program,
    limits: Sequence[tuple[int, Ceiling]],
    confinement: Confinement,
    files: Sequence[int],
    ready: int,
) -> int:
    """Returns the descriptor for the value of a call."""
    _arrange_files(program, files, ready)
    linux.die_with_parent()
    for name, ceiling in limits:
        resource.setrlimit(name, ceiling)
    if confinement.filter is not None:
        confinement.filter.install()
    os.write(ready, _READY)
    os.close(ready)
    return 1 if program.kind == "script" else 3


def _arrange_files(program: Program, files: Sequence[int], ready: int) -> None:
    """Put the files at 0 to 3 and close all others but `ready`."""
    standard_input, output, errors = files
    printed = output if program.kind == "script" else errors
    os.dup2(standard_input, 0)
    os.dup2(printed, 1)
    os.dup2(errors, 2)
    first_free = 3
    if program.kind != "script":
        os.dup2(output, 3)
        first_free = 4
    os.closerange(first_free, ready)
    os.closerange(ready + 1, 4096)


def _run(program: Program, output: int, confinement: Confinement) -> int:
    """Run the program; the exit code."""
    module = types.ModuleType("__main__" if program.kind == "script" else "solution")
    module.__file__ = _FILE_NAME
    sys.modules[module.__name__] = module
    if program.prelude:
        module.__dict__.update(confinement.prelude)
    try:
        if program.detached:
            _detach()
        code = _execute(program, module.__dict__, output)
        if not program.detached and _thread._count():
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        # To ask io.IOBase, an abstract class, would copy a hundred pages of memory.
        opened = [x for x in module.__dict__.values() if isinstance(x, _IOBase)]
        _flush(sys.stdout, *confinement.streams, *opened)
    except BaseException as error:
        return _explain(error, program)
    return code


def _execute(program: Program, namespace: dict[str, Any], output: int) -> int:
    work: Callable[[], Any] | None = None
    if program.kind != "script":
        text = sys.stdin.read()
        if program.kind == "call":
            arguments = encoding.decode(text)
            work = lambda: _call(program, namespace, arguments)  # noqa: E731
        else:
            work = lambda: _evaluate(text, namespace)  # noqa: E731
    encode, write = encoding.encode, os.write
    code = _exec(program, namespace)
    if work is None or code:
        return code
    # What the program printed must not come after what it returned is written.
    data = encode(work()).encode()
    while data:
        data = data[write(output, data) :]
    return 0


def _exec(program: Program, namespace: dict[str, Any]) -> int:
    try:
        exec(_compile(program), namespace)
    except SystemExit as stop:
        if program.kind == "script":
            return _exit_code(stop)
        raise
    return 0


class _BadSourceError(Exception):
    """The source does not compile."""


def _compile(program: Program) -> types.CodeType:
    try:
        return compile(program.source, _FILE_NAME, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        if program.wrap and isinstance(error, SyntaxError):
            try:
                return _compile_wrapped(program.source)
            except SyntaxError:
                pass  # then the first error is the one to report
        raise _BadSourceError from error


def _compile_wrapped(source: str) -> types.CodeType:
    """Compile source as the body of a function, the way APPS runs its programs.

    Imports that only a module may have stay outside the function.
    """
    tree = ast.parse(source, _FILE_NAME)
    outside = [node for node in tree.body if _module_only(node)]
    inside = [node for node in tree.body if not _module_only(node)]
    wrapper = ast.parse("def code():\n    pass\ncode()", _FILE_NAME)
    function = wrapper.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = inside or function.body
    wrapper.body[:0] = outside
    return compile(wrapper, _FILE_NAME, "exec", dont_inherit=True)


def _module_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and (
        node.module == "__future__" or node.names[0].name == "*"
    )


class _NoEntryError(Exception):
    """The function to call is not there."""


def _entry(name: str, namespace: dict[str, Any]) -> Callable[..., Any]:
    solution = namespace.get("Solution")
    if isinstance(solution, type) and hasattr(solution, name):
        method = getattr(solution(), name)
        if callable(method):
            return method  # type: ignore[no-any-return]
    function = namespace.get(name)
    if not callable(function):
        raise _NoEntryError(f"the program defines no function {name!r}")
    return function  # type: ignore[no-any-return]


def _call(program: Program, namespace: dict[str, Any], arguments: list[Any]) -> Any:
    value = _entry(program.entry, namespace)(*arguments)
    return [value, arguments] if program.observed else value


def _evaluate(text: str, namespace: dict[str, Any]) -> Any:
    tree = ast.parse(text)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr), "the last statement must be an expression"
    exec(compile(tree, "test.py", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "test.py", "eval"), namespace)


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    print(stop.code, file=sys.stderr)
    return 1


def _explain(error: BaseException, program: Program) -> int:
    """Print the traceback where the supervisor reads it; the exit code."""
    code = _exit_for(error)
    shown: BaseException = error
    if isinstance(error, _BadSourceError) and error.__cause__ is not None:
        shown = error.__cause__
    lines = program.source.splitlines(keepends=True)
    linecache.cache[_FILE_NAME] = (len(program.source), None, lines, _FILE_NAME)
    text = "".join(traceback.format_exception(shown, limit=-6, chain=False))
    os.write(2, text[-3000:].encode("utf-8", "replace"))
    return int(code)


def _exit_for(error: BaseException) -> int:
    if isinstance(error, _BadSourceError):
        return Exit.SYNTAX_ERROR
    if isinstance(error, MemoryError):
        return Exit.MEMORY_ERROR
    if isinstance(error, _NoEntryError | SystemExit):
        return Exit.NO_VALUE
    if isinstance(error, encoding.NotEncodableError):
        return Exit.NOT_ENCODABLE
    if isinstance(error, PermissionError):
        return Exit.FORBIDDEN
    return 1


def _open_streams() -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
    """Standard streams over 0, 1 and 2 as Python opens them; the two for writing."""
    sys.stdin = sys.__stdin__ = _open_stream(0, "<stdin>")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _open_stream(1, "<stdout>")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _open_stream(2, "<stderr>")  # type: ignore[misc]
    return sys.stdout, sys.stderr


def _open_stream(descriptor: int, name: str) -> io.TextIOWrapper:
    mode = "w" if descriptor else "r"
    raw = io.FileIO(descriptor, mode, closefd=False)
    raw.name = name
    buffer = io.BufferedWriter(raw) if descriptor else io.BufferedReader(raw)
    stream = io.TextIOWrapper(buffer, encoding="utf-8", errors="surrogateescape")
    # Which fast readers of contest programs ask for.
    stream.mode = mode  # type: ignore[misc]
    return stream


def _flush(*streams: Any) -> None:
    """As Python does at its end, which also ignores what can't be flushed."""
    for stream in streams:
        with suppress(Exception):
            stream.flush()


def _detach() -> None:
    """Take the input off descriptor 0, and drop what threads print unless joined.

    A grader that runs programs in its own process loses what a thread prints after the
    program's end. Whether a thread is faster is chance; here it is decided by a join.
    """
    sys.stdin = io.TextIOWrapper(io.BytesIO(sys.stdin.buffer.read()), "utf-8")
    pending: dict[threading.Thread, list[str]] = {}
    wait, write = threading.Thread.join, sys.stdout.write

    def write_by_thread(text: str) -> int:
        thread = threading.current_thread()
        if thread is threading.main_thread():
            return write(text)
        pending.setdefault(thread, []).append(text)
        return len(text)

    def join(self: threading.Thread, timeout: float | None = None) -> None:
        wait(self, timeout)
        if not self.is_alive():
            write("".join(pending.pop(self, [])))

    sys.stdout.write = write_by_thread  # type: ignore[method-assign]
    threading.Thread.join = join  # type: ignore[method-assign]


def _opener(real: Callable[..., Any]) -> Callable[..., Any]:
    """`open` that knows the standard streams by the names of their files."""

    def open(file: Any, *arguments: Any, **options: Any) -> Any:
        descriptor = _STANDARD_FILES.get(str(file))
        if descriptor is None:
            return real(file, *arguments, **options)
        return real(descriptor, *arguments, **{**options, "closefd": False})

    return open

"""The process that runs one test of an untrusted program, and never returns.

It closes every file but its input, output and errors, sets limits, gives up the rights
that the server still had, and only then compiles and runs the source. Expected outputs
are never in its memory.
"""

from __future__ import annotations

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from retrace.sandbox import encoding, linux, seccomp
from retrace.sandbox.model import Exit, Limits, Program
from retrace.sandbox.seccomp import Filter

_MB = 1 << 20
_STACK = 112 * _MB  # the kernel leaves a gap of 128 MB below the stack
_FILE_NAME = "main.py"
_READY = b"confined"


@dataclass(frozen=True)
class Confinement:
    """What a worker has prepared once for all its jails."""

    filter: Filter | None
    """None where nothing is confined."""
    base_memory: int
    """Address space, in bytes, that a jail starts with: limits come on top."""
    count_threads: bool
    prelude: dict[str, Any]


def run(
    program: Program,
    limits: Limits,
    confinement: Confinement,
    files: Sequence[int],
    ready: int,
) -> NoReturn:
    """Confine this process, say so on `ready`, run the program and exit.

    Args:
        files: input, output and errors. For a script they are 0, 1 and 2. Otherwise
            what the program prints goes to errors, and its value to the output.
    """
    try:
        output = _confine(program, limits, confinement, files, ready)
    except BaseException as error:
        os.write(ready, f"{type(error).__name__}: {error}"[:500].encode())
        os._exit(Exit.BROKEN_JAIL)
    os._exit(_run(program, output, confinement.prelude))


def has_confined(message: bytes) -> bool:
    """Whether a jail's message says that its program ran confined."""
    return message == _READY


def _confine(
    program: Program,
    limits: Limits,
    confinement: Confinement,
    files: Sequence[int],
    ready: int,
) -> int:
    """Returns the descriptor for the value of a call."""
    _arrange_files(program, files, ready)
    linux.die_with_parent()
    _set_limits(limits, confinement)
    _reset_signals()
    if confinement.filter is not None:
        seccomp.install(confinement.filter.inner(os.getpid()))
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


def _set_limits(limits: Limits, confinement: Confinement) -> None:
    cpu = int(limits.cpu_s) + 2  # behind the supervisor, which is finer
    memory = confinement.base_memory + limits.memory_mb * _MB
    output = limits.output_mb * _MB
    wanted = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: output,
        resource.RLIMIT_NOFILE: 128,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if confinement.count_threads:
        wanted[resource.RLIMIT_NPROC] = limits.threads
    for name, value in wanted.items():
        hard = resource.getrlimit(name)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(name, (value, value))
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    soft = _STACK if hard == resource.RLIM_INFINITY else min(_STACK, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def _reset_signals() -> None:
    for number in (signal.SIGINT, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _run(program: Program, output: int, prelude: dict[str, Any]) -> int:
    """Run the program; the exit code."""
    streams = _open_streams()
    sys.argv = [_FILE_NAME]
    sys.set_int_max_str_digits(0)
    random.seed(0)  # the module seeds itself anew after each fork
    builtins.open = _opener(builtins.open)
    module = types.ModuleType("__main__" if program.kind == "script" else "solution")
    sys.modules[module.__name__] = module
    if program.prelude:
        module.__dict__.update(prelude)
    try:
        if program.detached:
            _detach()
        code = _execute(program, module.__dict__, output)
        if not program.detached:
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, *streams):
            stream.flush()
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
    """Fresh standard streams over 0, 1 and 2; returns the two for writing."""

    def writer(descriptor: int) -> io.TextIOWrapper:
        raw = io.FileIO(descriptor, "w", closefd=False)
        return io.TextIOWrapper(
            io.BufferedWriter(raw), encoding="utf-8", errors="surrogateescape"
        )

    reader = io.BufferedReader(io.FileIO(0, "r", closefd=False))
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(  # type: ignore[misc]
        reader, encoding="utf-8", errors="surrogateescape"
    )
    output, errors = writer(1), writer(2)
    sys.stdout = sys.__stdout__ = output  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = errors  # type: ignore[misc]
    return output, errors


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
    """`open` that knows /dev/stdin, which is a link into the missing /proc."""

    def open(file: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(file, str) and file == "/dev/stdin":
            return real(0, *arguments, **{**options, "closefd": False})
        return real(file, *arguments, **options)

    return open

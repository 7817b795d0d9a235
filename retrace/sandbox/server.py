"""A worker: a fork server that has imported what programs import.

The pool starts it with one end of a socket. It enters its namespaces, loads modules,
reports, and then serves one program at a time:

    worker  ──fork──▶  supervisor, one a program  ──fork──▶  jail, one a test

The supervisor takes over the socket until the program's tests are done. In the modes
with namespaces it is the first process of a PID namespace of its own, so whatever a
program leaves running ends with it.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import platform
import resource
import select
import signal
import socket
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

from retrace.sandbox import jail, landlock, linux, namespaces
from retrace.sandbox.jail import Confinement
from retrace.sandbox.model import Limits, Mode, Program, Stop
from retrace.sandbox.prelude import contest_names, offer_only, preload
from retrace.sandbox.seccomp import Filter

_FIRST_FREE = 10  # jails use the descriptors below
_MESSAGE_BYTES = 1 << 16
_SYSTEM_PATHS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo")
_SYSTEM_FILES = ("/etc/localtime", "/etc/ld.so.cache")


def main(options: dict[str, Any]) -> None:
    """Set up, report on the socket, serve until it closes.

    Options: `socket` (descriptor), `mode`, `modules`, `max_landlock_abi`.
    """
    connection = socket.socket(fileno=_move_up(options["socket"]))
    try:
        confinement, report = _set_up(options)
    except Exception as error:
        connection.send(json.dumps({"failed": _one_line(error)}).encode())
        return
    connection.send(json.dumps(report).encode())
    _serve(connection, Mode(options["mode"]), confinement)


def _set_up(options: dict[str, Any]) -> tuple[Confinement, dict[str, Any]]:
    mode = Mode(options["mode"])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    paths = readable_paths()
    # Opened now, because the new root has no /proc.
    with open("/proc/self/statm") as memory:
        if mode.namespaces:
            namespaces.enter()
            namespaces.build_root(paths)
        linux.hide_memory()
        confinement, report = _confinement(mode, paths, options)
        memory.seek(0)
        pages = int(memory.read().split()[0])
    base = pages * resource.getpagesize()
    os.environ.clear()
    gc.collect()
    gc.freeze()
    return replace(confinement, base_memory=base), report


def _confinement(
    mode: Mode, paths: list[str], options: dict[str, Any]
) -> tuple[Confinement, dict[str, Any]]:
    found = min(landlock.abi(), options.get("max_landlock_abi", 99))
    ruleset = None
    if mode.landlock:
        if not found:
            raise OSError("this kernel has no Landlock, or it is not enabled at boot")
        ruleset = landlock.Ruleset([*paths, "/dev/urandom"], ["/dev/null"], found)
        ruleset.fd = _move_up(ruleset.fd)
    modules = preload(options["modules"])
    offer_only(options["modules"])
    unsandboxed = mode is Mode.UNSANDBOXED
    confinement = Confinement(
        filter=None if unsandboxed else Filter(),
        ruleset=ruleset,
        base_memory=0,
        count_threads=mode.namespaces and _limits_are_per_namespace(),
        prelude=contest_names(),
    )
    report = {
        "landlock_abi": found if mode.landlock else 0,
        "modules": modules,
        "python": platform.python_version(),
    }
    return confinement, report


def _serve(connection: socket.socket, mode: Mode, confinement: Confinement) -> None:
    for message, files in _messages(connection):
        (source,) = files
        program = Program(source=_read_text(source), **message["program"])
        os.close(source)
        child = os.fork()
        if child == 0:
            _become_supervisor(connection, mode, confinement, program)
        _, status = os.waitpid(child, 0)
        if status:
            code = os.waitstatus_to_exitcode(status)
            _send(connection, {"lost": f"the supervisor ended with {code}"})


def _become_supervisor(
    connection: socket.socket, mode: Mode, confinement: Confinement, program: Program
) -> NoReturn:
    code = 1
    try:
        linux.die_with_parent()
        if mode.namespaces:
            linux.unshare(linux.CLONE_NEWPID)
            child = os.fork()
            if child:
                _, status = os.waitpid(child, 0)
                os._exit(1 if status else 0)
            linux.die_with_parent()
        jail.confine_supervisor(confinement)
        _supervise(connection, confinement, program)
        code = 0
    except BrokenPipeError:
        code = 0  # the pool is gone: there is nobody to tell
    except BaseException as error:
        _send(connection, {"broken": _one_line(error)})
        code = 0
    finally:
        os._exit(code)


def _supervise(
    connection: socket.socket, confinement: Confinement, program: Program
) -> None:
    """Run the program's tests until the pool says that it has no more."""
    _send(connection, {"ready": True})
    for message, files in _messages(connection):
        if "done" in message:
            _send(connection, {"done": True})
            return
        limits = Limits(**message["limits"])
        result = _run_test(connection, confinement, program, limits, files)
        for descriptor in files:
            os.close(descriptor)
        _send(connection, result)


def _run_test(
    connection: socket.socket,
    confinement: Confinement,
    program: Program,
    limits: Limits,
    files: list[int],
) -> dict[str, Any]:
    read_end, write_end = (_move_up(end) for end in os.pipe())
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        jail.run(program, limits, confinement, files, write_end)
    os.close(write_end)
    message = os.read(read_end, 1000)
    os.close(read_end)
    if not jail.has_confined(message):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise RuntimeError(f"a jail could not be closed: {message.decode()}")
    stop, status, usage = _watch(child, limits, connection, start)
    cpu = usage.ru_utime + usage.ru_stime
    code = 0
    if stop is Stop.EXITED:
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            stop, code = _death(-code, cpu, limits), -code
    return {
        "stop": stop,
        "code": code,
        "cpu_s": cpu,
        "wall_s": time.monotonic() - start,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def _death(number: int, cpu_s: float, limits: Limits) -> Stop:
    if number in (signal.SIGXCPU, signal.SIGKILL) and cpu_s >= limits.cpu_s:
        return Stop.CPU
    # A program can't send itself SIGKILL, so this one came from outside.
    return Stop.KILLED if number == signal.SIGKILL else Stop.SIGNALLED


def _watch(
    child: int, limits: Limits, connection: socket.socket, start: float
) -> tuple[Stop, int, resource.struct_rusage]:
    """Wait for a jail to end, or end it: by CPU time, by idleness, by the clock."""
    hang_up = select.poll()
    hang_up.register(connection, select.POLLHUP)
    busy_at, busy_cpu = start, 0.0
    while True:
        now = time.monotonic()
        cpu = _cpu_time(child)
        if cpu - busy_cpu > 0.002 * (now - busy_at) + 0.005:
            busy_at, busy_cpu = now, cpu
        stop = None
        if cpu >= limits.cpu_s:
            stop = Stop.CPU
        elif now - busy_at >= limits.idle_s:
            stop = Stop.IDLE
        elif now - start >= limits.wall_s:
            stop = Stop.WALL
        elif any(event & select.POLLHUP for _, event in hang_up.poll(0)):
            stop = Stop.KILLED
        if stop is not None:
            os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            return stop, status, usage
        wait = min(limits.cpu_s - cpu, limits.wall_s - (now - start), 0.25)
        signal.sigtimedwait({signal.SIGCHLD}, max(wait, 0.001))
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return Stop.EXITED, status, usage


def _cpu_time(pid: int) -> float:
    """Seconds of CPU that a process has used (clock_getcpuclockid of the C library)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0  # it has just ended; wait4 knows


def _messages(connection: socket.socket) -> Iterator[tuple[dict[str, Any], list[int]]]:
    while True:
        data, files, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 4)
        if not data:
            return
        yield json.loads(data), [_move_up(descriptor) for descriptor in files]


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.send(json.dumps(message).encode())


def _move_up(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    os.close(descriptor)
    return moved


def _read_text(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode("utf-8", "surrogatepass")


def readable_paths() -> list[str]:
    """The trees that a Python program needs: the interpreter's and system libraries."""
    wanted = [*_SYSTEM_PATHS, *_SYSTEM_FILES]
    for prefix in (sys.base_prefix, sys.prefix, sys.base_exec_prefix, sys.exec_prefix):
        wanted += [f"{prefix}/lib", f"{prefix}/lib64"]
    wanted += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    wanted += os.environ.get("LD_LIBRARY_PATH", "").split(":")
    kept: list[str] = []
    for path in sorted({os.path.normpath(path) for path in wanted if path}):
        within = any(path.startswith(f"{parent}/") for parent in kept)
        if os.path.exists(path) and not within and path != "/":
            kept.append(path)
    return kept


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:500]


def _limits_are_per_namespace() -> bool:
    """Whether RLIMIT_NPROC counts within the user namespace (Linux 5.14)."""
    major, minor = platform.release().split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)) or 0)) >= (5, 14)

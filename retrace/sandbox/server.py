"""A worker: a fork server that has imported what programs import.

The pool starts it with one end of a socket. It enters its namespaces, loads modules,
gives up for good what no program may have, reports, and then runs one test after the
other, each in a process of its own:

    pool  ──spawn──▶  first process  ──fork──▶  server  ──fork──▶  jail, one a test

The first process only waits. The server is process 1 of its PID namespace, so whatever
should be left running ends with it. Without namespaces there is no first process.
"""

from __future__ import annotations

import fcntl
import gc
import json
import mmap
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
from contextlib import suppress
from typing import Any

from retrace.sandbox import jail, landlock, linux, namespaces, seccomp
from retrace.sandbox.jail import Confinement
from retrace.sandbox.model import Limits, Mode, Program, Stop
from retrace.sandbox.prelude import contest_names, offer_only, preload
from retrace.sandbox.seccomp import Filter

_FIRST_FREE = 10  # jails use the descriptors below
_MESSAGE_BYTES = 1 << 16
_LOOK_EVERY_S, _LATE_S = 0.25, 0.05
_SYSTEM_PATHS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo")
_SYSTEM_FILES = ("/etc/localtime", "/etc/ld.so.cache")


def main(options: dict[str, Any]) -> None:
    """Set up, report on the socket, serve until it closes.

    Options: `socket` (descriptor), `mode`, `modules`, `max_landlock_abi`.
    """
    connection = socket.socket(fileno=_move_up(options["socket"]))
    try:
        confinement, report = _set_up(connection, options)
    except Exception as error:
        _send(connection, {"failed": _one_line(error)})
        return
    _send(connection, report)
    _serve(connection, confinement)


def _set_up(
    connection: socket.socket, options: dict[str, Any]
) -> tuple[Confinement, dict[str, Any]]:
    mode = Mode(options["mode"])
    # In jails as well, where it makes no difference: programs have no children.
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGCHLD})
    paths = readable_paths()
    alone = mode is not Mode.UNSANDBOXED and linux.take_own_real_user()
    if mode.namespaces:
        namespaces.enter()
        _continue_as_first_of_namespace(connection)
        namespaces.build_root(paths)
    modules = preload(options["modules"])
    offer_only(options["modules"])
    prelude = contest_names()
    abi = _confine(mode, paths, options.get("max_landlock_abi", 99))
    os.environ.clear()
    confinement = jail.prepare(
        confined=mode is not Mode.UNSANDBOXED,
        base_memory=_address_space(),
        count_threads=alone or (mode.namespaces and _limits_are_per_namespace()),
        prelude=prelude,
    )
    gc.collect()
    gc.freeze()
    python = platform.python_version()
    return confinement, {"landlock_abi": abi, "modules": modules, "python": python}


def _continue_as_first_of_namespace(connection: socket.socket) -> None:
    """Fork: only children of this process are in the new PID namespace."""
    child = os.fork()
    if child:
        connection.close()  # else the pool would not see that the server ended
        _, status = os.waitpid(child, 0)
        os._exit(1 if status else 0)


def _confine(mode: Mode, paths: list[str], max_abi: int) -> int:
    """Give up, for this process and all its children; the Landlock ABI in use."""
    abi = 0
    if mode is not Mode.UNSANDBOXED:
        linux.drop_capabilities()
        linux.no_new_privileges()
        if mode.landlock:
            abi = min(landlock.abi(), max_abi)
            if not abi:
                raise OSError("this kernel has no Landlock, or it is not enabled")
            landlock.restrict([*paths, "/dev/urandom"], ["/dev/null"], abi)
        seccomp.install(Filter().outer())
    # Last, because a change of rights can undo both.
    linux.hide_memory()
    linux.die_with_parent()
    return abi


def _serve(connection: socket.socket, confinement: Confinement) -> None:
    """Run tests until the pool closes the socket."""
    program = Program("")
    for message, files in _messages(connection):
        if "program" in message:
            program = Program(source=_read_text(files[0]), **message["program"])
            result: dict[str, Any] = {"ready": True}
        else:
            limits = Limits(**message["limits"])
            try:
                result = _run_test(connection, confinement, program, limits, files)
            except Exception as error:
                result = {"broken": _one_line(error)}
        for descriptor in files:
            os.close(descriptor)
        if os.getpid() == 1:
            _end_everybody()
        _send(connection, result)


def _end_everybody() -> None:
    """Kill what may be left in this PID namespace; jails can't fork, so nothing is."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def _run_test(
    connection: socket.socket,
    confinement: Confinement,
    program: Program,
    limits: Limits,
    files: list[int],
) -> dict[str, Any]:
    read_end, write_end = (_move_up(end) for end in os.pipe())
    ceilings = jail.ceilings(limits, confinement)
    start = time.monotonic()
    child = linux.fork()
    if child == 0:
        jail.run(program, ceilings, confinement, files, write_end)
    os.close(write_end)
    message = os.read(read_end, 1000)
    os.close(read_end)
    if not jail.has_confined(message):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise RuntimeError(f"a jail could not be closed: {message.decode()}")
    stop, status, usage = _watch(child, limits, connection)
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
    child: int, limits: Limits, connection: socket.socket
) -> tuple[Stop, int, resource.struct_rusage]:
    """Wait for a jail to end, or end it: by CPU time, by idleness, by the clock."""
    elapsed = busy_at = busy_cpu = 0.0
    wait = min(limits.cpu_s, limits.wall_s, _LOOK_EVERY_S)
    while True:
        before = time.monotonic()
        signal.sigtimedwait({signal.SIGCHLD}, wait)
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return Stop.EXITED, status, usage
        # Where this process is late, a program had no turn either: a suspended job.
        elapsed += min(time.monotonic() - before, wait + _LATE_S)
        cpu = _cpu_time(child)
        if cpu - busy_cpu > 0.002 * (elapsed - busy_at) + 0.005:
            busy_at, busy_cpu = elapsed, cpu
        stop = None
        if cpu >= limits.cpu_s:
            stop = Stop.CPU
        elif elapsed - busy_at >= limits.idle_s:
            stop = Stop.IDLE
        elif elapsed >= limits.wall_s:
            stop = Stop.WALL
        elif _has_hung_up(connection):
            stop = Stop.KILLED
        if stop is not None:
            os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            return stop, status, usage
        wait = min(limits.cpu_s - cpu, limits.wall_s - elapsed, _LOOK_EVERY_S)
        wait = max(wait, 0.001)


def _has_hung_up(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLHUP)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


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
    with suppress(BrokenPipeError):  # the pool is gone, and the next read says so
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


def _address_space() -> int:
    """Bytes of address space in use, to a page, without /proc: the least limit under
    which a page more can be mapped."""
    page = resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    low, high = 0, 1 << 32  # pages
    while high - low > 1:
        middle = (low + high) // 2
        resource.setrlimit(resource.RLIMIT_AS, (middle * page, hard))
        try:
            mmap.mmap(-1, page).close()
            high = middle
        except (OSError, MemoryError):
            low = middle
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    return high * page


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:500]


def _limits_are_per_namespace() -> bool:
    """Whether RLIMIT_NPROC counts within the user namespace (Linux 5.14)."""
    major, minor = platform.release().split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)) or 0)) >= (5, 14)

"""The pool attacks itself before it runs anything, and refuses on any success."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from retrace.sandbox.model import Execution, Limits, Mode, SandboxError, Stop

Try = Callable[[str, list[bytes], Limits], list[Execution]]

_LIMITS = Limits(cpu_s=5.0, idle_s=5.0, memory_mb=256, output_mb=1)
_CONTAINED = b"contained"

# Each line names an attack; the program tries the one that its input names and prints
# `contained` only if the kernel said no. Argument: the port of a listening socket.
_ATTACKS = """
import os, sys
name, argument = input().split()

def environment():
    return len(os.environ) > 0

def proc():
    return any(len(open(f"/proc/{p}/environ", "rb").read()) >= 0 for p in ("self", 1))

def passwd():
    return len(open("/etc/passwd").read()) > 0

def home():
    return len(os.listdir("/root")) + len(os.listdir("/home")) >= 0

def network():
    import socket
    with socket.create_connection(("127.0.0.1", int(argument)), timeout=2):
        return True

def fork():
    if os.fork() == 0:
        os._exit(0)
    return True

def execute():
    os.execv("/bin/sh", ["sh", "-c", "echo escaped"])

def write():
    done = 0
    for place in ("/tmp", "/var/tmp", "/dev/shm", "/", ".", "/usr/lib"):
        try:
            open(f"{place}/retrace-{os.getpid()}", "w").close()
            done += 1
        except OSError:
            pass
    return done

def kill_parent():
    os.kill(os.getppid() or 1, 9)
    return True

def kill_all():
    os.kill(-1, 9)
    return True

def descriptors():
    found = 0
    for number in range(3, 4096):
        try:
            os.fstat(number)
            found += 1
        except OSError:
            pass
    return found

def memory():
    return len(bytearray(int(argument) << 20)) > 0

def trace():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.ptrace(16, os.getppid() or 1, 0, 0) == 0

def namespaces():
    import ctypes
    return ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0

try:
    print("escaped" if globals()[name]() else "contained")
except (OSError, MemoryError):
    print("contained")
"""

_NAMES = (
    "environment",
    "proc",
    "passwd",
    "home",
    "network",
    "fork",
    "execute",
    "write",
    "kill_parent",
    "kill_all",
    "descriptors",
    "memory",
    "trace",
    "namespaces",
)


def attack(run: Try, mode: Mode) -> dict[str, str]:
    """Try every attack; `contained` for each.

    Raises:
        SandboxError: if one succeeds, or an honest program gives a wrong answer.
    """
    (honest,) = run("print(int(input()) * 2)", [b"21\n"], _LIMITS)
    if honest.output != b"42\n" or honest.stop is not Stop.EXITED:
        raise SandboxError(
            f"self-test: an honest program printed {honest.output[:100]!r}, not 42"
            f" ({honest.stop}): {honest.errors[-500:]}"
        )
    if mode is Mode.UNSANDBOXED:
        return {"all": "not tried: unsandboxed"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        arguments = {"network": port, "memory": 4 * _LIMITS.memory_mb}
        inputs = [f"{name} {arguments.get(name, 0)}\n".encode() for name in _NAMES]
        results = run(_ATTACKS, inputs, _LIMITS)
    outcomes = {}
    for name, result in zip(_NAMES, results, strict=True):
        if result.output.strip() != _CONTAINED:
            said = (result.output + result.errors.encode())[-300:]
            raise SandboxError(
                f"self-test: the attack {name!r} was not contained"
                f" ({result.stop} {result.code}, as user {os.geteuid()}): {said!r}"
            )
        outcomes[name] = "contained"
    return outcomes

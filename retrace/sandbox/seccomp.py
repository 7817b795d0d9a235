"""Seccomp filters: an allow-list of system calls, assembled as classic BPF.

Two filters, because both apply and the large one is slow to install: a worker takes
`outer` once for all that it will run, each jail adds `inner`.

`outer` allows `syscalls.ALLOWED` and `syscalls.CONDITIONAL`, answers EPERM to
`syscalls.REFUSED` and ENOSYS to everything else, so that a call added to a future
kernel is never available by default. `inner` narrows the conditional calls to harmless
arguments: threads but no processes, signals to oneself alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Iterable

from retrace.sandbox import linux, syscalls

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
_X32_BIT = 0x40000000
_SIZE = 8  # bytes of an instruction
_MAX_JUMP = 200  # a jump offset is one byte
_VALUE = struct.Struct("<I")
_SOME_PID = 0x7A7A7A7A  # beyond all processes, and no other value in a filter

# Offsets into struct seccomp_data; arguments are 64 bits wide, little-endian.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_AF_UNIX = 1
# TCGETS, FIONBIO, FIONREAD, TIOCGWINSZ, FIOCLEX, FIONCLEX: what `open` and event loops
# ask of a file. TIOCSTI and the rest are refused.
_IOCTLS = (0x5401, 0x5421, 0x541B, 0x5413, 0x5451, 0x5450)

# F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY: the kernel would send a signal
# of the program's choice to a process of its choice.
_SIGNALLING_FCNTLS = (8, 10, 15, 1024, 1026)

Instruction = tuple[int, int, int, int]


class Filter:
    """The filters of this machine."""

    def __init__(self, machine: str | None = None) -> None:
        self.machine = machine or platform.machine()
        self.table = syscalls.table(self.machine)
        self._entry = _pack(self._check_architecture())
        self._outer = self._entry + _pack(self._allow_list())

    def outer(self) -> bytes:
        """What every process of a program may do."""
        return self._outer

    def inner(self, pid: int) -> bytes:
        """What a jail may do in addition to `outer`'s refusals; `pid` is its own."""
        return self._entry + _pack(self._conditions(pid))

    def _check_architecture(self) -> list[Instruction]:
        part: list[Instruction] = [
            (_LOAD, 0, 0, _ARCHITECTURE),
            (_EQUAL, 1, 0, syscalls.AUDIT_ARCH[self.machine]),
            (_RETURN, 0, 0, _KILL_PROCESS),
            (_LOAD, 0, 0, _NUMBER),
        ]
        if self.machine == "x86_64":
            part += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL_PROCESS)]
        return part

    def _allow_list(self) -> list[Instruction]:
        allowed = self._numbers([*syscalls.ALLOWED, *syscalls.CONDITIONAL])
        refused = self._numbers(syscalls.REFUSED)
        part = _match(allowed, _ALLOW) + _match(refused, _ERRNO | errno.EPERM)
        return [*part, (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]

    def _conditions(self, pid: int) -> list[Instruction]:
        # SIGKILL is left to the supervisor: a program that dies of it did not ask.
        unsent = (signal.SIGKILL, signal.SIGSTOP)
        own = _argument_in(0, (pid,))
        names = (linux.PR_SET_NAME, linux.PR_GET_NAME)
        part = self._when("clone", _argument_has(0, linux.CLONE_THREAD))
        part += self._when("kill", own + _argument_not_in(1, unsent))
        part += self._when("tgkill", own + _argument_not_in(2, unsent))
        part += self._when("prlimit64", _argument_in(0, (0, pid)))
        part += self._when("socketpair", _argument_in(0, (_AF_UNIX,)))
        part += self._when("ioctl", _argument_in(1, _IOCTLS))
        part += self._when("prctl", _argument_in(0, names))
        part += self._when("fcntl", _argument_not_in(1, _SIGNALLING_FCNTLS))
        return [*part, (_RETURN, 0, 0, _ALLOW)]

    def _numbers(self, names: Iterable[str]) -> list[int]:
        return [self.table[name] for name in names if name in self.table]

    def _when(self, name: str, conditions: list[Instruction]) -> list[Instruction]:
        body = [*conditions, (_RETURN, 0, 0, _ALLOW)]
        return [(_EQUAL, 0, len(body), self.table[name]), *body]


class Prepared:
    """The inner filter, assembled once but for the process that it is for."""

    def __init__(self, filters: Filter) -> None:
        code = filters.inner(_SOME_PID)
        values = range(_SIZE - 4, len(code), _SIZE)
        self._places = [
            at for at in values if _VALUE.unpack_from(code, at)[0] == _SOME_PID
        ]
        self._code = _Code(code)

    def fill_in(self, pid: int) -> bytes:
        """What `Filter.inner` gives for the process."""
        self._put(pid)
        return self._code.buffer.raw

    def install(self) -> None:
        """Confine the calling process for good. It must have no new privileges."""
        self._put(os.getpid())
        self._code.install()

    def _put(self, pid: int) -> None:
        for place in self._places:
            _VALUE.pack_into(self._code.buffer, place, pid)


def install(code: bytes) -> None:
    """Confine the calling process for good. It must have no new privileges."""
    _Code(code).install()


class _Code:
    """A filter where the kernel can read it (struct sock_fprog of linux/filter.h)."""

    def __init__(self, code: bytes) -> None:
        self.buffer = ctypes.create_string_buffer(code, len(code))
        start = ctypes.addressof(self.buffer)
        program = struct.pack("@HP", len(code) // _SIZE, start)
        self._program = ctypes.create_string_buffer(program, len(program))
        self._address = ctypes.addressof(self._program)

    def install(self) -> None:
        mode = linux.SECCOMP_MODE_FILTER
        linux.prctl(linux.PR_SET_SECCOMP, mode, self._address)


def _pack(instructions: Iterable[Instruction]) -> bytes:
    return b"".join(struct.pack("<HBBI", *each) for each in instructions)


def _match(numbers: list[int], action: int) -> list[Instruction]:
    """Return `action` for any of the numbers, else fall through."""
    part: list[Instruction] = []
    for start in range(0, len(numbers), _MAX_JUMP):
        chunk = numbers[start : start + _MAX_JUMP]
        for position, number in enumerate(chunk):
            part.append((_EQUAL, len(chunk) - position, 0, number))
        part += [(_JUMP, 0, 0, 1), (_RETURN, 0, 0, action)]
    return part


def _load_argument(index: int) -> Instruction:
    # The low half: the kernel reads these arguments as 32-bit integers.
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _argument_in(index: int, values: Iterable[int]) -> list[Instruction]:
    """Go on if the argument is one of the values, else refuse with EPERM."""
    wanted = list(values)
    tests: list[Instruction] = [
        (_EQUAL, len(wanted) - position, 0, value)
        for position, value in enumerate(wanted)
    ]
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    return [_load_argument(index), *tests, refuse]


def _argument_not_in(index: int, values: Iterable[int]) -> list[Instruction]:
    part = [_load_argument(index)]
    for value in values:
        part += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    return part


def _argument_has(index: int, bit: int) -> list[Instruction]:
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    return [_load_argument(index), (_ANY_BIT, 1, 0, bit), refuse]

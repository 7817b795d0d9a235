"""What the seccomp filters answer, for both architectures, by running their code here.

The numbers are compared with the kernel's headers where those are installed.
"""

from __future__ import annotations

import errno
import re
import signal
import struct
from pathlib import Path

import pytest

from retrace.sandbox import seccomp, syscalls

MACHINES = ("x86_64", "aarch64")
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
PID = 4711
THREAD = 0x00010000  # CLONE_THREAD


def answer(code: bytes, number: int, arch: int, *arguments: int) -> int:
    """Run a filter as the kernel does, on one system call."""
    given = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<iIQ6Q", number, arch, 0, *given)
    program = list(struct.iter_unpack("<HBBI", code))
    place = value = 0
    while True:
        operation, yes, no, operand = program[place]
        place += 1
        if operation == 0x20:  # load a word
            (value,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x06:  # return
            return int(operand)
        elif operation == 0x05:  # jump
            place += operand
        else:
            holds = {0x15: value == operand, 0x35: value >= operand}
            holds[0x45] = bool(value & operand)
            place += yes if holds[operation] else no


@pytest.mark.parametrize("machine", MACHINES)
def test_each_call_gets_the_answer_of_its_list(machine: str) -> None:
    table, arch = syscalls.table(machine), syscalls.AUDIT_ARCH[machine]
    code = seccomp.Filter(machine).outer()
    expected = dict.fromkeys(syscalls.REFUSED, EPERM)
    expected |= dict.fromkeys([*syscalls.ALLOWED, *syscalls.CONDITIONAL], ALLOW)
    known = {table[name]: wanted for name, wanted in expected.items() if name in table}
    for number in range(600):
        assert answer(code, number, arch) == known.get(number, ENOSYS), number


@pytest.mark.parametrize("machine", MACHINES)
def test_another_architectures_calls_kill(machine: str) -> None:
    other = next(syscalls.AUDIT_ARCH[name] for name in MACHINES if name != machine)
    filters = seccomp.Filter(machine)
    for code in (filters.outer(), filters.inner(PID)):
        assert answer(code, syscalls.table(machine)["read"], other) == KILL
        assert answer(code, syscalls.table(machine)["read"], 0x40000003) == KILL
    if machine == "x86_64":
        x32 = 0x40000000 | syscalls.X86_64["write"]
        assert answer(filters.outer(), x32, syscalls.AUDIT_ARCH[machine]) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_a_prepared_filter_is_that_of_its_process(machine: str) -> None:
    filters = seccomp.Filter(machine)
    prepared = seccomp.Prepared(filters)
    for pid in (PID, 1, 1 << 22):
        assert prepared.fill_in(pid) == filters.inner(pid)


CONDITIONS = [
    ("clone", (THREAD | 0x100,), ALLOW),
    ("clone", (signal.SIGCHLD,), EPERM),
    ("clone", (0x10000000 | THREAD - 1,), EPERM),
    ("kill", (PID, signal.SIGTERM), ALLOW),
    ("kill", (PID, signal.SIGKILL), EPERM),
    ("kill", (PID, signal.SIGSTOP), EPERM),
    ("kill", (1, signal.SIGTERM), EPERM),
    ("kill", (2**64 - 1, signal.SIGTERM), EPERM),
    ("tgkill", (PID, PID, signal.SIGABRT), ALLOW),
    ("tgkill", (1, 1, signal.SIGABRT), EPERM),
    ("prlimit64", (0,), ALLOW),
    ("prlimit64", (1,), EPERM),
    ("socketpair", (1,), ALLOW),
    ("socketpair", (2,), EPERM),
    ("ioctl", (0, 0x5401), ALLOW),
    ("ioctl", (0, 0x5412), EPERM),  # TIOCSTI types into a terminal
    ("prctl", (15,), ALLOW),
    ("prctl", (4, 1), EPERM),  # PR_SET_DUMPABLE
    ("fcntl", (3, 3), ALLOW),
    ("fcntl", (3, 8, 1), EPERM),  # F_SETOWN
    ("fcntl", (3, 10, 9), EPERM),  # F_SETSIG
    ("fcntl", (3, 15, 0), EPERM),  # F_SETOWN_EX
    ("read", (0,), ALLOW),
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "arguments", "expected"), CONDITIONS)
def test_a_jail_narrows_calls_by_their_arguments(
    machine: str, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    number, arch = syscalls.table(machine)[name], syscalls.AUDIT_ARCH[machine]
    code = seccomp.Filter(machine).inner(PID)
    assert answer(code, number, arch, *arguments) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("no kernel headers here")
    text = HEADERS[machine].read_text()
    found = re.findall(r"#define\s+__NR(?:3264)?_(\w+)\s+(\d+)", text)
    numbers = {name: int(number) for name, number in reversed(found)}
    # Calls that have one number on machines of 32 and 64 bits, and two names.
    aliases = re.findall(r"#define\s+__NR_(\w+)\s+__NR3264_(\w+)", text)
    numbers |= {name: numbers[other] for name, other in aliases if other in numbers}
    table = syscalls.table(machine)
    assert {name: numbers.get(name) for name in table} == table

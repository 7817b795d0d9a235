"""The few system calls that Python's standard library does not wrap."""

from __future__ import annotations

import _thread
import ctypes
import os
import signal
import struct

from retrace.sandbox import syscalls

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
# Holds the interpreter's lock during a call, so a child has it as well.
_interpreter = ctypes.PyDLL(None, use_errno=True)

# linux/sched.h
CLONE_THREAD = 0x00010000
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# linux/mount.h
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_RELATIME = 0x200000
MNT_DETACH = 0x2

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_GET_NAME = 16
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

SECCOMP_MODE_FILTER = 2
_FIRST_OWN_USER = 0x70000000  # above the users of any system, below what means nobody
_CAPABILITY_VERSION_3 = 0x20080522


def _fail(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def syscall(name: str, *arguments: object) -> int:
    """Make a system call by name.

    Raises:
        OSError: with the call's name in its message.
    """
    result = int(_libc.syscall(syscalls.table()[name], *arguments))
    if result < 0:
        raise _fail(name)
    return result


def fork() -> int:
    """Fork without what os.fork does for processes with several threads.

    It makes every lock anew and seeds generators again, which copies some two hundred
    pages of memory: a quarter of what a short program costs. With one thread no lock
    is held by another, and this thread has the interpreter's own.
    """
    if _thread._count():  # beside the main one: an offered module has started it
        return os.fork()
    child = int(_interpreter.fork())
    if child < 0:
        raise _fail("fork")
    return child


def prctl(option: int, first: int = 0, second: int = 0) -> None:
    if _libc.prctl(option, first, second, 0, 0) < 0:
        raise _fail(f"prctl({option})")


def unshare(flags: int) -> None:
    if _libc.unshare(ctypes.c_int(flags)) < 0:
        raise _fail("unshare")


def mount(
    source: str | None, target: str, kind: str | None, flags: int, data: str = ""
) -> None:
    result = _libc.mount(
        source.encode() if source else None,
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )
    if result < 0:
        raise _fail(f"mount {kind or 'bind'} on {target}")


def unmount(target: str) -> None:
    if _libc.umount2(target.encode(), MNT_DETACH) < 0:
        raise _fail(f"umount {target}")


def pivot_root(new_root: str, old_root: str) -> None:
    syscall("pivot_root", new_root.encode(), old_root.encode())


def die_with_parent() -> None:
    """Have the kernel kill this process as soon as its parent ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def hide_memory() -> None:
    """Keep processes of the same user from tracing or reading this one."""
    prctl(PR_SET_DUMPABLE, 0)


def no_new_privileges() -> None:
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def take_own_real_user() -> bool:
    """As root, take a real user id of this process's own, and stay root otherwise.

    The kernel counts the threads of a real user, and root's are not limited. False for
    an ordinary user, and for a root that may not change its ids.
    """
    if os.geteuid() != 0:
        return False
    try:
        os.setresuid(_FIRST_OWN_USER + os.getpid(), -1, -1)
    except OSError:
        return False
    return True


def drop_capabilities() -> None:
    """Give up every capability of this process; a later exec regains none."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # not privileged, or past the last one: nothing more to drop
    header = struct.pack("<II", _CAPABILITY_VERSION_3, 0)
    syscall("capset", header, bytes(24))

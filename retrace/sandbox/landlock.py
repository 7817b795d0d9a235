"""Landlock: a process gives up the file system but for named trees (kernel 5.13+).

The kernel's documentation is Documentation/userspace-api/landlock.rst; constants are
of linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from retrace.sandbox import linux

_VERSION = 1  # flag of landlock_create_ruleset: ask for the ABI, create nothing
_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
# How many file system rights each ABI knows: 2 adds refer, 3 truncate, 5 ioctl.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_RIGHTS_NOW = 16
_NET_TCP = 0b11  # bind and connect, since ABI 4
_SCOPES = 0b11  # abstract sockets and signals, since ABI 6


def abi() -> int:
    """The Landlock ABI of this kernel, 0 where it has none or it is not enabled."""
    try:
        return linux.syscall("landlock_create_ruleset", None, 0, _VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[str], writable: Iterable[str], version: int) -> None:
    """Confine this process for good: it may read beneath some paths, write to some
    files, and nothing else anywhere. It must have no new privileges.

    Args:
        version: the ABI to use, at most `abi()`.

    Raises:
        OSError: if the kernel refuses.
    """
    handled = (1 << _RIGHTS.get(version, _RIGHTS_NOW)) - 1
    network = _NET_TCP if version >= 4 else 0
    scopes = _SCOPES if version >= 6 else 0
    attributes = struct.pack("<QQQ", handled, network, scopes)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = linux.syscall("landlock_create_ruleset", attributes[:size], size, 0)
    try:
        for path in readable:
            folder = _READ_DIR if os.path.isdir(path) else 0
            _allow(ruleset, path, _READ_FILE | folder)
        for path in writable:
            _allow(ruleset, path, (_READ_FILE | _WRITE_FILE | _TRUNCATE) & handled)
        linux.syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = ctypes.create_string_buffer(struct.pack("<Qi", rights, handle))
        linux.syscall("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(handle)

"""User namespaces: a root of our own, with a read-only Python and nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from retrace.sandbox import linux

_NEW_ROOT = "/tmp"  # any directory that always exists; it is covered, not changed
_EMPTY = ("/tmp", "/dev/shm")  # read-only: writing there is refused, not an absence
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

# statvfs flags that a mount inherited and that a remount may not drop (statvfs.h).
_LOCKED = (
    (os.ST_NOSUID, linux.MS_NOSUID),
    (os.ST_NODEV, linux.MS_NODEV),
    (os.ST_NOEXEC, linux.MS_NOEXEC),
    (os.ST_NOATIME, linux.MS_NOATIME),
    (os.ST_RELATIME, linux.MS_RELATIME),
)


def enter() -> None:
    """Move this process into new namespaces, and its children into a PID namespace.

    It becomes root there and stays the user it was everywhere else.

    Raises:
        OSError: where the node does not let this user make namespaces.
    """
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(
        linux.CLONE_NEWUSER
        | linux.CLONE_NEWNS
        | linux.CLONE_NEWNET
        | linux.CLONE_NEWIPC
        | linux.CLONE_NEWUTS
        | linux.CLONE_NEWPID
    )
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def build_root(readable: Sequence[str]) -> None:
    """Replace the root by an empty one that shows `readable`, read-only.

    No /proc, no /home, no place to write: a program sees the interpreter's libraries.

    Raises:
        OSError: if a mount is refused.
    """
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    # Opened before the new root covers a path that one of them may lie beneath.
    sources = {
        path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (*readable, *DEVICES)
    }
    flags = linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("tmpfs", _NEW_ROOT, "tmpfs", flags, "size=1m,nr_inodes=4096,mode=755")
    for path, handle in sources.items():
        _show(path, handle)
        os.close(handle)
    for empty in _EMPTY:
        os.makedirs(_NEW_ROOT + empty, exist_ok=True)
    old = f"{_NEW_ROOT}/.old"
    os.mkdir(old)
    linux.pivot_root(_NEW_ROOT, old)
    os.chdir("/")
    linux.unmount("/.old")
    os.rmdir("/.old")
    linux.mount(None, "/", None, linux.MS_REMOUNT | linux.MS_RDONLY | flags)


def _show(path: str, handle: int) -> None:
    """Bind an opened path to the same place below the new root."""
    source, target = f"/proc/self/fd/{handle}", _NEW_ROOT + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        open(target, "a").close()
    linux.mount(source, target, None, linux.MS_BIND | linux.MS_REC)
    if path in DEVICES:
        return  # a read-only remount would not stop writing to a device anyway
    found = os.statvfs(target).f_flag
    flags = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY
    flags |= linux.MS_NOSUID | linux.MS_NODEV
    for seen, kept in _LOCKED:
        if found & seen:
            flags |= kept
    linux.mount(None, target, None, flags)

"""What a DVC remote holds, hashed as it streams by: for an auditor without the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from retrace.provenance import ledger
from retrace.provenance.hashing import Digest, digest
from retrace.provenance.verify import Fault, Verified, selected, selection

T = TypeVar("T")

THREADS = 8
PUSH = "whoever has the data: `retrace verify --repair`, then `dvc push`"


class RemoteError(RuntimeError):
    """A remote that cannot be read: says which and why."""


def verify(root: Path, name: str | None, paths: Iterable[str] = ()) -> Verified:
    """Read every recorded object on a remote and hash it; nothing is written.

    Raises:
        LedgerError: nothing is recorded, dvc.lock is damaged, or has no such path.
        RemoteError: there is no such remote, or it cannot be reached.
    """
    book = ledger.read(root)
    only = selection(book, paths)
    store = _open(root, name)
    done = Verified()
    started = time.monotonic()
    done.excluded = sorted(out.path for out in book.outs if out.private)
    objects = _objects(book, store, done, only)
    with ThreadPoolExecutor(THREADS) as threads:
        results = threads.map(lambda md5: _digest(store, md5), objects)
        for (md5, paths), found in zip(objects.items(), results, strict=True):
            done.files += 1
            done.size += found.size if found else 0
            if found is None or found.md5 != md5:
                what = (
                    "the remote has not its bytes"
                    if found is None
                    else (f"the remote's bytes have md5 {found.md5}, recorded is {md5}")
                )
                done.faults += [Fault(p, "remote", what, PUSH) for p in paths]
    done.seconds["hash"] = time.monotonic() - started
    return done


def _objects(
    book: ledger.Ledger, store: Any, done: Verified, only: Set[str]
) -> dict[str, list[str]]:
    """For each object the recorded files that are its bytes."""
    found: dict[str, list[str]] = {}

    def take(md5: str, path: str) -> None:
        if selected(path, only):
            found.setdefault(md5, []).append(path)

    for out in book.outs:
        if out.private:
            continue
        if not out.is_folder:
            take(out.md5, out.path)
            continue
        content = _content(store, out.md5)
        listed = ledger.parse_listing(content, out.md5) if content else None
        if listed is None:
            what = "the remote has not the list of its files, or a damaged one"
            done.faults.append(Fault(out.path, "remote", what, PUSH))
            continue
        for file, md5 in listed.items():
            take(md5, f"{out.path}/{file}")
    return found


def _open(root: Path, name: str | None) -> Any:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        return Repo(str(root)).cloud.get_remote_odb(name)
    except DvcException as error:
        raise RemoteError(f"no remote to verify: {error}") from error


def _digest(store: Any, md5: str) -> Digest | None:
    return _read(store, md5, digest)


def _content(store: Any, md5: str) -> bytes | None:
    return _read(store, md5, lambda file: bytes(file.read()))


def _read(store: Any, md5: str, use: Callable[[BinaryIO], T]) -> T | None:
    """What `use` makes of an object of the remote, or None if it is not there."""
    try:
        with store.fs.open(store.oid_to_path(md5), "rb") as file:
            return use(file)
    except FileNotFoundError:
        return None
    except Exception as error:
        # Clients of S3, SSH and the like raise what they please.
        raise RemoteError(f"the remote cannot be read: {error}") from error

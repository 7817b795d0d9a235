"""Recorded bytes back in their places, from DVC's cache or from a remote.

What lay there is not thrown away but put aside, below `tmp/replaced/`. An object in the
cache is used only if it still is what its name says.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from retrace.provenance import ledger
from retrace.provenance.hashing import digest_file
from retrace.provenance.record import RecordingError, run_dvc
from retrace.provenance.verify import Fault

ASIDE = Path("tmp/replaced")


@dataclass
class Repaired:
    """Files that are back, and those that are not, with the reason."""

    back: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    aside: Path | None = None


def repair(
    root: Path, faults: Iterable[Fault], tell: Callable[[str], None] = lambda line: None
) -> Repaired:
    """Get the recorded bytes of faulty files back."""
    done = Repaired(aside=root / ASIDE / time.strftime("%Y-%m-%dT%H-%M-%S"))
    paths = sorted({fault.path for fault in faults if fault.repairable})
    if not paths:
        return done
    book = _with_lists(root, ledger.read(root), done)
    for path in paths:
        for file, md5 in _files(book, path):
            found = digest_file(root / file)
            is_link = (root / file).is_symlink()
            if found is not None and found.md5 == md5 and not is_link:
                continue
            try:
                _get_back(root, book, file, md5, done)
                done.back.append(file)
                tell(f"{file} is back")
            except (RecordingError, OSError) as error:
                done.failed[file] = str(error)
    return done


def _files(book: ledger.Ledger, path: str) -> Iterable[tuple[str, str]]:
    if path in book.files:
        return [(path, book.files[path])]
    return [(f, md5) for f, md5 in book.files.items() if f.startswith(f"{path}/")]


def _with_lists(root: Path, book: ledger.Ledger, done: Repaired) -> ledger.Ledger:
    """The ledger with the lists of its folders fetched, where a remote has them."""
    if not book.unlisted:
        return book
    for out in book.unlisted:
        ledger.object_path(root, out.md5).unlink(missing_ok=True)
        try:
            run_dvc(root, "fetch", "--quiet", out.path)
        except RecordingError as error:
            done.failed[out.path] = str(error)
    return ledger.read(root)


def _get_back(
    root: Path, book: ledger.Ledger, path: str, md5: str, done: Repaired
) -> None:
    kept = ledger.object_path(root, md5)
    found = digest_file(kept)
    if found is None or found.md5 != md5:
        _fetch(root, book, path, kept)
        found = digest_file(kept)
        if found is None or found.md5 != md5:
            raise RecordingError(
                "neither the cache nor a remote has its recorded bytes"
            )
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and done.aside is not None:
        (done.aside / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(target, done.aside / path)
    # A copy, never a link: a job may write to the file.
    temporary = target.with_name(f".{target.name}.repaired")
    shutil.copyfile(kept, temporary)
    os.replace(temporary, target)


def _fetch(root: Path, book: ledger.Ledger, path: str, kept: Path) -> None:
    """Ask the remotes for an object that the cache has not, or no longer whole."""
    if kept.exists():
        kept.chmod(0o644)
        kept.unlink()
    out = book.out_of(path)
    run_dvc(root, "fetch", "--quiet", out.path if out else path)

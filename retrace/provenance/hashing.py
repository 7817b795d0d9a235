"""Hashes of files from their bytes alone: no cache, no clock is asked.

DVC names content by md5, Snakemake and the manifests by sha256. A file is read once for
both, and several files at a time; hashlib lets other threads run meanwhile.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PIECE = 1 << 20
BIG = 64 << 20


@dataclass(frozen=True)
class Digest:
    """What a file's bytes are."""

    md5: str
    sha256: str
    size: int


def digest(file: BinaryIO) -> Digest:
    """Hash an open file to its end."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    buffer = bytearray(PIECE)
    view = memoryview(buffer)
    size = 0
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        md5.update(view[:count])
        sha256.update(view[:count])
        size += count
    return Digest(md5.hexdigest(), sha256.hexdigest(), size)


def digest_file(path: Path) -> Digest | None:
    """Hash a file; nothing if it is not there."""
    try:
        if path.stat().st_size > BIG:
            return _digest_big(path)
        with open(path, "rb", buffering=0) as file:
            return digest(file)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _digest_big(path: Path) -> Digest:
    """One thread for each hash: the second one reads from the page cache."""

    def hashed(name: str) -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, name).hexdigest()

    with ThreadPoolExecutor(2) as threads:
        md5, sha256 = threads.map(hashed, ("md5", "sha256"))
    return Digest(md5, sha256, path.stat().st_size)


def digest_files(
    root: Path, paths: Iterable[str], tell: Callable[[int], None] = lambda size: None
) -> dict[str, Digest]:
    """Hash files below a root; those that are missing are left out.

    `tell` is told the size of each file when it is done.
    """
    names = sorted(set(paths))
    found: dict[str, Digest] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        results = threads.map(lambda name: digest_file(root / name), names)
        for name, result in zip(names, results, strict=True):
            if result is not None:
                found[name] = result
                tell(result.size)
    return found

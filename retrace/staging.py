"""Weights copied to a node's own disk before they are loaded.

Eight processes that read 65 GB from a shared file system are slow, and slow for
everybody. A copy on the node is made once, by whoever comes first, and serves every
later job on that node.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
from pathlib import Path

from retrace.locking import Lock, LockedError

log = logging.getLogger(__name__)

# The folder on the node's own disk; unset or empty: weights are read where they are.
VARIABLE = "RETRACE_SCRATCH"
WAIT = 3600.0
# Room that is left to others.
SPARE = 5e9
CACHES = {
    "TORCH_EXTENSIONS_DIR": "extensions",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "VLLM_CACHE_ROOT": "vllm",
}


def use(scratch: str) -> None:
    """Stage weights on SCRATCH from here on, and keep there what engines compile.

    Compilers write thousands of small files, which shared file systems are bad at. What
    somebody set already stays.
    """
    os.environ.setdefault(VARIABLE, scratch)
    ours = _ours(Path(os.path.expandvars(scratch)))
    for variable, name in CACHES.items():
        os.environ.setdefault(variable, str(ours / name))


def staged(weights: str, revision: str = "") -> str:
    """Where to load weights from: a copy on scratch, or `weights` itself.

    Args:
        weights: a directory, or a hub repository, looked up in the hub's cache.
        revision: the commit of a hub repository.

    Without a scratch folder, without room on it, or if nothing of the repository is in
    the cache, this is `weights`: a slow start and no failure.
    """
    scratch = os.environ.get(VARIABLE, "")
    if not scratch:
        return weights
    source = _source(weights, revision)
    if source is None:
        return weights
    try:
        return str(_copy(source, Path(os.path.expandvars(scratch))))
    except (OSError, LockedError) as error:
        log.warning("%s is read where it is: scratch does not work: %s", source, error)
        return weights


def _source(weights: str, revision: str) -> Path | None:
    if Path(weights).is_dir():
        return Path(weights)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(
            weights, revision=revision or None, local_files_only=True
        )
    except LocalEntryNotFoundError:
        return None
    return Path(found)


def _copy(source: Path, scratch: Path) -> Path:
    """The copy of a directory, whole or not at all.

    Raises:
        OSError: the scratch folder cannot be written, or is full.
    """
    files = sorted(path for path in source.rglob("*") if path.is_file())
    told = [[str(f.relative_to(source)), *_stamp(f)] for f in files]
    name = hashlib.sha256(repr([str(source.resolve()), told]).encode()).hexdigest()[:16]
    ours = _ours(scratch)
    ours.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = ours / name
    lock = Lock(ours / f"{name}.lock")
    lock.acquire(WAIT)
    try:
        if target.is_dir():
            log.info("weights are on this node already: %s", target)
            return target
        size = sum(file.stat().st_size for file in files)
        free = shutil.disk_usage(ours).free
        if size + SPARE > free:
            raise OSError(f"{size / 1e9:.0f} GB to copy, {free / 1e9:.0f} GB free")
        log.info("copying %.1f GB of weights to %s", size / 1e9, target)
        partial = ours / f".{name}.{secrets.token_hex(4)}"
        try:
            # Links of the hub's cache become files.
            shutil.copytree(source, partial)
            partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return target
    finally:
        lock.release()


def _ours(scratch: Path) -> Path:
    return scratch / f"retrace-{os.getuid()}"


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns

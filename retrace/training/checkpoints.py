"""Checkpoints of one run: which are whole, which go on, which are deleted.

A checkpoint counts once its marker is there: the last file to be written, after every
rank has written its own. It names every other file with its size.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from retrace.rows import write_lines
from retrace.training.settings import TrainingError

log = logging.getLogger(__name__)

MARKER = "complete.json"
# DeepSpeed reads from this file which universal checkpoint to load.
UNIVERSAL = "latest_universal"


def settle(checkpoint: Path) -> None:
    """Bring what this node wrote to the disk, so that no marker outlives its files."""
    for path in checkpoint.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def mark(checkpoint: Path, step: int, ranks: int) -> None:
    """Write the marker, once all ranks have written everything else."""
    files = {
        str(path.relative_to(checkpoint)): path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != MARKER
    }
    content = {"step": step, "ranks": ranks, "files": files}
    write_lines(checkpoint / MARKER, [json.dumps(content)])


def latest(directory: Path, ranks: int) -> Path | None:
    """The newest whole checkpoint of a run, if there is one.

    Raises:
        TrainingError: it was written by another number of ranks.
    """
    found = [path for path in by_step(directory) if is_whole(path)]
    if not found:
        return None
    marker = read(found[-1])
    if marker["ranks"] != ranks and not is_universal(found[-1]):
        raise TrainingError(
            f"{found[-1]} was written by {marker['ranks']} ranks and cannot go on with"
            f" {ranks}: set ranks back, or make it fit any number with\n"
            f"  python -m retrace.training.reshape {found[-1]}\n"
            f"or delete {directory} to start anew"
        )
    return found[-1]


def is_whole(checkpoint: Path) -> bool:
    """Whether everything that the marker names is there, in its size."""
    if not (checkpoint / MARKER).is_file():
        return False
    try:
        files = read(checkpoint)["files"]
    except (ValueError, KeyError, TypeError):
        log.warning("%s is not whole: its %s is cut", checkpoint, MARKER)
        return False
    for name, size in files.items():
        path = checkpoint / name
        if not path.is_file() or path.stat().st_size != size:
            log.warning("%s is not whole: %s is missing or cut", checkpoint, name)
            return False
    return True


def prune(directory: Path, keep: int) -> None:
    """Delete all but the newest whole checkpoints, and any that are not whole."""
    whole = [path for path in by_step(directory) if is_whole(path)]
    for path in by_step(directory):
        if path not in whole[-keep:]:
            # Without its marker first, so that no half of it is ever taken for whole.
            (path / MARKER).unlink(missing_ok=True)
            shutil.rmtree(path)


def by_step(directory: Path) -> list[Path]:
    """Checkpoints of a run, whole or not, oldest first."""
    steps = {
        path: path.name.rpartition("-")[2] for path in directory.glob("checkpoint-*")
    }
    numbered = {path: int(step) for path, step in steps.items() if step.isdecimal()}
    return sorted(numbered, key=numbered.__getitem__)


def is_universal(checkpoint: Path) -> bool:
    """Whether a checkpoint was reshaped to fit any number of ranks."""
    return (checkpoint / UNIVERSAL).is_file()


def read(checkpoint: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((checkpoint / MARKER).read_text("utf-8"))
    return content

"""How far a training is, in a file beside its checkpoints that others may read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from retrace.locking import is_held
from retrace.rows import write_lines

PROGRESS = "progress.json"
LOCK = "training.lock"


def note(directory: Path, student: str, about: Mapping[str, Any]) -> None:
    """Write how far a run is: step, steps, loss, tokens_per_second, seconds_left."""
    content = {"student": student, "time": time.time(), **about}
    write_lines(directory / PROGRESS, [json.dumps(content)])


def look(checkpoints: Path) -> Iterator[dict[str, Any]]:
    """What every run below a folder of checkpoints says of itself, and its state."""
    for path in sorted(checkpoints.glob(f"*/*/{PROGRESS}")):
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if is_held(path.parent / LOCK):
            told["state"] = "running"
        elif told["step"] >= told["steps"]:
            told["state"] = "done"
        else:
            told["state"] = told.get("stopped") or "killed"
        yield {**told, "run": path.parent.name}

"""The SLURM jobs of a working directory: what waits, what runs, what has failed.

SLURM's controller serves the whole cluster, so it is asked once in 15 seconds at most,
whoever of a working directory looks: the answer is kept in a file.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from retrace.slurm import SlurmError, ask

SECONDS = 15.0
# Job, state, time used, time limit, why it waits or where it runs, and what it is.
COLUMNS = "%i|%T|%M|%l|%R|%k"
ENDED_BADLY = (
    *("FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "CANCELLED", "BOOT_FAIL"),
    "DEADLINE",
)
# Lines of a failed job's log that say why.
TAIL = 15


@dataclass(frozen=True)
class QueuedJob:
    """A job as squeue tells it; `where` is its nodes, or in brackets why it waits."""

    number: str
    state: str
    used: str
    limit: str
    where: str
    name: str


@dataclass(frozen=True)
class Look:
    """The jobs at a moment, in seconds of the epoch; `error`: SLURM did not answer."""

    jobs: list[QueuedJob]
    at: float
    error: str = ""


def look(root: Path, now: float | None = None) -> Look | None:
    """The jobs that were sent from a working directory; None where there is no SLURM.

    They include those that ended in the last minutes, as long as SLURM remembers.
    """
    if shutil.which("squeue") is None:
        return None
    now = time.time() if now is None else now
    kept = _kept(root)
    if kept is not None and 0 <= now - kept.at < SECONDS:
        return kept
    try:
        fresh = Look(_jobs(root), now)
    except SlurmError as error:
        fresh = Look(kept.jobs if kept else [], now, str(error))
    _keep(root, fresh)
    return fresh


def by_name(jobs: Iterable[QueuedJob]) -> dict[str, Counter[str]]:
    """How many jobs of each rule or group are in which state."""
    counted: dict[str, Counter[str]] = {}
    for job in jobs:
        counted.setdefault(job.name, Counter())[job.state] += 1
    return dict(sorted(counted.items()))


def failed(jobs: Iterable[QueuedJob]) -> list[QueuedJob]:
    """Jobs that ended badly, the last first."""
    ended = (job for job in jobs if job.state in ENDED_BADLY)
    return sorted(ended, key=lambda job: int(job.number), reverse=True)


def log_of(job: QueuedJob, logs: Path) -> Path | None:
    """The file that SLURM wrote for a job, below the folder of all such files."""
    return next(iter(logs.rglob(f"{job.number}.log")), None)


def last_lines(path: Path, count: int = TAIL) -> list[str]:
    return path.read_text("utf-8", "replace").splitlines()[-count:]


def _jobs(root: Path) -> list[QueuedJob]:
    told = ask("squeue", "-h", "--me", "--states=all", "-o", f"{COLUMNS}|%Z")
    found = []
    for line in told.splitlines():
        number, state, used, limit, where, name, folder = line.split("|")
        if Path(folder) == root.resolve():
            found.append(QueuedJob(number, state, used, limit, where, _short(name)))
    return found


def _short(comment: str) -> str:
    """A rule or group, and the wildcards, of the comment that the plugin writes."""
    return comment.removeprefix("rule_").replace("_wildcards_", " ", 1)


def _file(root: Path) -> Path:
    return root / ".snakemake" / "retrace-squeue.json"


def _kept(root: Path) -> Look | None:
    try:
        kept = json.loads(_file(root).read_text("utf-8"))
        jobs = [QueuedJob(**job) for job in kept["jobs"]]
        return Look(jobs, float(kept["at"]), kept["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(root: Path, seen: Look) -> None:
    if not _file(root).parent.is_dir():
        return
    temporary = _file(root).with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(asdict(seen)), "utf-8")
    temporary.replace(_file(root))

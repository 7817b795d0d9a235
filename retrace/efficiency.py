"""What jobs asked for against what they used, rule by rule, with numbers to ask for.

What was asked for is noted before the first job; what was used is what Snakemake
measured of each job. So it needs no accounting, and works for every batch system.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

# Room above what was seen: memory kills, time only starts a job again.
MEMORY_ROOM = 1.5
TIME_ROOM = 2.0
# What a job takes beside the program of its rule: Snakemake, twice.
OVERHEAD_MB = 300
LEAST_MB = 1000
LEAST_MINUTES = 10


@dataclass(frozen=True)
class Asked:
    """What a job asked for. `measured` is the file in which Snakemake measures it."""

    rule: str
    measured: str
    cpus: int
    mem_mb: int
    minutes: int
    gpus: int = 0


@dataclass(frozen=True)
class Used:
    """What a job used: seconds of wall and of processors, and MB of memory at most."""

    seconds: float
    mem_mb: float
    cpu_seconds: float


@dataclass(frozen=True)
class Row:
    """A rule: how many of its jobs were measured, and the largest of each figure."""

    rule: str
    jobs: int
    minutes: float
    minutes_asked: int
    mem_mb: float
    mem_mb_asked: int
    cpus: float
    cpus_asked: int
    gpu_hours: float
    suggestion: str


def note(path: Path, asked: Iterable[Asked]) -> None:
    """Remember what is asked for; what earlier runs asked for other jobs is kept."""
    known = {one.measured: one for one in noted(path)}
    known |= {one.measured: one for one in asked}
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(asdict(one)) + "\n" for _, one in sorted(known.items())]
    temporary = path.with_suffix(".new")
    temporary.write_text("".join(lines), "utf-8")
    temporary.replace(path)


def noted(path: Path) -> list[Asked]:
    if not path.is_file():
        return []
    return [Asked(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def measured(path: Path) -> Used | None:
    """Snakemake's benchmark file of a job, or None if the job did not end yet."""
    if not path.is_file():
        return None
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if not rows:
        return None
    last = rows[-1]
    return Used(
        _number(last.get("s")),
        _number(last.get("max_rss")),
        _number(last.get("cpu_time")),
    )


def table(asked: Iterable[Asked], root: Path) -> list[Row]:
    """A row for every rule that has a measured job."""
    by_rule: dict[str, list[tuple[Asked, Used]]] = {}
    for one in asked:
        used = measured(root / one.measured)
        if used is not None:
            by_rule.setdefault(one.rule, []).append((one, used))
    return [_row(rule, jobs) for rule, jobs in sorted(by_rule.items())]


def cells(row: Row) -> Mapping[str, str]:
    """A row as it is printed, by its column."""
    return {
        "rule": row.rule,
        "jobs": str(row.jobs),
        "minutes": f"{row.minutes:.1f} of {row.minutes_asked}",
        "memory MB": f"{row.mem_mb:.0f} of {row.mem_mb_asked}",
        "processors": f"{row.cpus:.1f} of {row.cpus_asked}",
        "GPU h": f"{row.gpu_hours:.2f}" if row.gpu_hours else "",
        "set-resources": row.suggestion,
    }


def _row(rule: str, jobs: list[tuple[Asked, Used]]) -> Row:
    minutes = max(used.seconds for _, used in jobs) / 60
    memory = max(used.mem_mb for _, used in jobs)
    busy = [used.cpu_seconds / used.seconds for _, used in jobs if used.seconds > 0]
    minutes_asked = max(one.minutes for one, _ in jobs)
    mem_asked = max(one.mem_mb for one, _ in jobs)
    better = {
        "mem_mb": _suggested(OVERHEAD_MB + memory * MEMORY_ROOM, LEAST_MB, mem_asked),
        "runtime": _suggested(minutes * TIME_ROOM, LEAST_MINUTES, minutes_asked),
    }
    return Row(
        rule=rule,
        jobs=len(jobs),
        minutes=minutes,
        minutes_asked=minutes_asked,
        mem_mb=memory,
        mem_mb_asked=mem_asked,
        cpus=max(busy, default=0.0),
        cpus_asked=max(one.cpus for one, _ in jobs),
        gpu_hours=sum(one.gpus * used.seconds / 3600 for one, used in jobs),
        suggestion=" ".join(f"{rule}:{k}={v}" for k, v in better.items() if v),
    )


def _suggested(wanted: float, least: int, asked: int) -> int | None:
    """A rounder number than `wanted`; None if what is asked for is about right."""
    if wanted <= least:
        number = least
    else:
        step = 10 ** (math.floor(math.log10(wanted)) - 1)
        number = int(math.ceil(wanted / step) * step)
    return number if number < asked / 2 or number > asked else None


def _number(text: str | None) -> float:
    """A figure of a benchmark file, which says NA or - for what it could not see."""
    try:
        value = float(text or "")
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0

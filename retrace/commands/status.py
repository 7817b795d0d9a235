"""`retrace status`: what jobs that sample and train are doing, and what is queued.

Progress is read from journals and beside checkpoints, the queue from SLURM, where there
is one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrace import slurm_queue
from retrace.journal import JournalError, journals_under, lock_path
from retrace.locking import is_held
from retrace.progress import Progress
from retrace.training import follow

if TYPE_CHECKING:
    from rich.table import Table

TOTAL = "all"
JOURNALS = Path("journals")
CHECKPOINTS = Path("checkpoints")
# As in profiles/slurm/config.yaml.
SLURM_LOGS = Path("logs/slurm")
STATES = {
    "done": "done",
    "Stopped": "stopped",
    "BudgetError": "out of budget",
    "CircuitOpenError": "too many failures",
    "EngineError": "engine failed",
}
CURRENT = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED")


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("status", help="show running jobs")
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=JOURNALS,
        help="journals, or those of one model (default: journals, and trainings)",
    )
    parser.add_argument("--all", action="store_true", help="finished shards too")
    parser.add_argument("--once", action="store_true", help="print once and end")
    parser.add_argument("--json", action="store_true", help="JSON, with --once")
    parser.add_argument("--every", type=float, default=2.0, help="seconds, live")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.json and not args.once:
        print("retrace status: --json needs --once", file=sys.stderr)
        return 2
    watched: dict[Path, Progress] = {}
    try:
        if not args.once:
            return _live(args, watched)
        rows = look(args.folder, watched, time.time(), args.all)
    except JournalError as error:
        print(f"retrace status: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(rows + trainings(args), indent=2))
    else:
        from rich.console import Console

        Console().print(table(rows), *training_tables(args), *queue())
    return 0


def look(
    folder: Path, watched: dict[Path, Progress], now: float, finished: bool
) -> list[dict[str, Any]]:
    """A row for every shard, and one for all of them; journals are read on."""
    for path in journals_under(folder):
        watched.setdefault(path, Progress(path))
    rows = []
    for path in sorted(watched):
        progress = watched[path].read_on()
        if progress.run:
            rows.append({"journal": _name(path, folder)} | _row(path, progress, now))
    total = _sum(rows, list(watched.values()))
    return [row for row in rows if finished or row["state"] != "done"] + [total]


def table(rows: Sequence[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table

    shown = Table(
        title="Sampling", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0)
    )
    shown.add_column("journal", min_width=24, overflow="fold")
    shown.add_column("state")
    is_paid = any(row["dollars"] for row in rows)
    has_failed = any(row["failures"] for row in rows)
    figures = ["done", "tokens/s", "left"] + ["$", "$ in all"] * is_paid
    for name in figures:
        shown.add_column(name, justify="right", no_wrap=True)
    if has_failed:
        shown.add_column("failures")
    for row in rows:
        left = row["seconds_left"]
        cells = [
            row["journal"],
            row["state"],
            f"{row['done']}/{row['total']}",
            f"{row['tokens_per_second']:.0f}",
            "" if left is None else _duration(left),
        ]
        if is_paid:
            cells += [f"{row['dollars']:.2f}", f"{row['projected_dollars']:.2f}"]
        if has_failed:
            kinds = sorted(row["failures"].items())
            cells.append(", ".join(f"{n} {kind}" for kind, n in kinds))
        shown.add_row(*cells)
    return shown


def trainings(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Trainings, unless the journals of something else are asked for."""
    if args.folder != JOURNALS:
        return []
    told = follow.look(CHECKPOINTS)
    return [one for one in told if args.all or one["state"] != "done"]


def training_tables(args: argparse.Namespace) -> list[Table]:
    from rich import box
    from rich.table import Table

    rows = trainings(args)
    if not rows:
        return []
    shown = Table(
        title="Training", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0)
    )
    shown.add_column("student / run", min_width=16, overflow="fold")
    shown.add_column("state")
    for name in ("step", "loss", "tokens/s", "left"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        running = row["state"] == "running"
        shown.add_row(
            f"{row['student']} / {row['run'][:8]}",
            row["state"],
            f"{row['step']}/{row['steps']}",
            f"{row['loss']:.4f}",
            f"{row['tokens_per_second']:,.0f}" if running else "",
            _duration(row["seconds_left"]) if running else "",
        )
    return [shown]


def queue() -> list[Table | str]:
    """The SLURM jobs of this directory by what they are, and why some have failed."""
    seen = slurm_queue.look(Path())
    if seen is None or not (seen.jobs or seen.error):
        return []
    shown: list[Table | str] = [_queue_table(seen.jobs)] if seen.jobs else []
    if seen.error:
        shown.append(f"SLURM does not answer, this is what it said last: {seen.error}")
    for job in slurm_queue.failed(seen.jobs)[:1]:
        shown.append(f"SLURM job {job.number} ({job.name}) ended as {job.state}")
        log = slurm_queue.log_of(job, SLURM_LOGS)
        if log is not None:
            shown += [f"the end of {log}:", *slurm_queue.last_lines(log)]
    return shown


def _queue_table(jobs: Sequence[slurm_queue.QueuedJob]) -> Table:
    from rich import box
    from rich.table import Table

    shown = Table(
        title="SLURM", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0)
    )
    shown.add_column("jobs", min_width=30, overflow="fold")
    shown.add_column("states")
    shown.add_column("nodes, or why it waits")
    for name, states in slurm_queue.by_name(jobs).items():
        told = ", ".join(f"{n} {state.lower()}" for state, n in sorted(states.items()))
        present = [j for j in jobs if j.name == name and j.state in CURRENT]
        where = dict.fromkeys(f"{j.where} {j.used}/{j.limit}" for j in present)
        shown.add_row(name, told, ", ".join(where))
    return shown


def _live(args: argparse.Namespace, watched: dict[Path, Progress]) -> int:
    from rich.console import Group
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        try:
            while True:
                rows = look(args.folder, watched, time.time(), args.all)
                shown = Group(table(rows), *training_tables(args), *queue())
                live.update(shown, refresh=True)
                time.sleep(args.every)
        except KeyboardInterrupt:
            return 0


def state_of(outcome: str) -> str:
    """How a run ended, in words; one that could not say so was killed."""
    if outcome in STATES:
        return STATES[outcome]
    return "failed" if outcome else "killed"


def _name(path: Path, folder: Path) -> str:
    """A journal's path below the folder: the same shard may be sampled and graded."""
    return path.relative_to(folder).with_suffix("").as_posix()


def _row(path: Path, progress: Progress, now: float) -> dict[str, Any]:
    running = not progress.outcome and is_held(lock_path(path))
    return {
        "model": str(progress.run.get("model", path.parent.name)),
        "set": str(progress.run.get("set", "")),
        "shard": path.stem,
        "state": "running" if running else state_of(progress.outcome),
        "done": progress.done,
        "total": progress.total,
        "tokens": progress.completion_tokens,
        "tokens_per_second": round(progress.tokens_per_second(now), 1)
        if running
        else 0.0,
        "seconds_left": progress.seconds_left(now) if running else None,
        "failures": dict(progress.failures),
        "dollars": round(progress.dollars, 4),
        "projected_dollars": round(progress.projected_dollars(), 4),
    }


def _sum(
    rows: Sequence[dict[str, Any]], journals: Sequence[Progress]
) -> dict[str, Any]:
    left = [row["seconds_left"] for row in rows if row["seconds_left"] is not None]
    failures: Counter[str] = Counter()
    for row in rows:
        failures.update(row["failures"])
    running = sum(row["state"] == "running" for row in rows)
    return {
        "journal": TOTAL,
        "model": TOTAL,
        "set": "",
        "shard": "",
        "state": f"{running} running",
        "done": sum(row["done"] for row in rows),
        "total": sum(row["total"] for row in rows),
        "tokens": sum(journal.completion_tokens for journal in journals),
        "tokens_per_second": sum(row["tokens_per_second"] for row in rows),
        "seconds_left": max(left, default=None),
        "failures": dict(failures),
        "dollars": round(sum(journal.dollars for journal in journals), 4),
        "projected_dollars": round(sum(row["projected_dollars"] for row in rows), 4),
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"

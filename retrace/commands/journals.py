"""`retrace journals`: what the journals hold, and compaction."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from retrace.journal import JournalError, compact, journals_under
from retrace.locking import LockedError
from retrace.progress import Progress


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("journals", help="list or compact journals")
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("journals"),
        help="journals, or those of one model (default: journals)",
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="drop repeated answers and old notes; refuses while a job runs",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not args.folder.is_dir():
        print(f"retrace journals: {args.folder} is no directory", file=sys.stderr)
        return 2
    try:
        rows = _compact(args.folder) if args.compact else _list(args.folder)
    except (JournalError, LockedError) as error:
        print(f"retrace journals: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(rows, indent=2))
    for row in [] if args.json else rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    return 0


def _list(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for path in journals_under(folder):
        progress = Progress(path).read_on()
        rows.append(
            {
                "journal": path.relative_to(folder).as_posix(),
                "answers": progress.answered,
                "prompt_tokens": progress.prompt_tokens,
                "completion_tokens": progress.completion_tokens,
                "dollars": round(progress.dollars, 4),
                "bytes": path.stat().st_size,
            }
        )
    return rows


def _compact(folder: Path) -> list[dict[str, Any]]:
    """Each model's journals by themselves: keys are looked up within a model."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    models = [folder] if any(folder.glob("*.jsonl")) else inside
    rows = []
    for model in models:
        done = compact(model)
        rows.append(
            {
                "model": model.name,
                "journals": len(done.files),
                "kept": done.kept,
                "dropped": done.dropped,
                "bytes_before": done.bytes_before,
                "bytes_after": done.bytes_after,
            }
        )
    return rows

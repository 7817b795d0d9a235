"""`retrace efficiency`: what jobs asked a batch system for, and what they used."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

ASKED = Path("logs/asked.jsonl")


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "efficiency", help="requested against used resources, by rule"
    )
    parser.add_argument("--asked", type=Path, default=ASKED, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from retrace import efficiency

    rows = efficiency.table(efficiency.noted(args.asked), Path())
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return 0
    if not rows:
        print(
            "retrace efficiency: no job of a batch system has ended here yet",
            file=sys.stderr,
        )
        return 1
    _print([efficiency.cells(row) for row in rows])
    return 0


def _print(rows: list[Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(
        title="Used of requested, at most",
        title_justify="left",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for column in rows[0]:
        numeric = column not in ("rule", "set-resources")
        shown.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        shown.add_row(*row.values())
    Console().print(shown)

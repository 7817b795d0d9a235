"""`retrace show`: everything there is about a row, on the terminal."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retrace.report.text import excerpt, printed_json, visible

ID_FIELDS = ("id", "trace_id", "problem_id")
LONG = 2000


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "show", help="print the rows of a problem, a trace or a training row"
    )
    parser.add_argument("row", help="an id, or its beginning (at least 6 characters)")
    parser.add_argument(
        "files",
        type=Path,
        nargs="*",
        default=[Path("data")],
        help="row files, or folders of them (default: data)",
    )
    parser.add_argument("--full", action="store_true", help="don't shorten long texts")
    parser.add_argument("--json", action="store_true", help="one JSON list of rows")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if len(args.row) < 6:
        print("retrace show: give at least 6 characters of an id", file=sys.stderr)
        return 2
    missing = ", ".join(str(path) for path in args.files if not path.exists())
    if missing:
        print(
            f"retrace show: {missing} is not here: run the workflow, or name the files"
            " that hold the row",
            file=sys.stderr,
        )
        return 2
    try:
        found = find(args.row, args.files)
    except (ValueError, OSError) as error:
        print(f"retrace show: {error}", file=sys.stderr)
        return 2
    if not found:
        named = ", ".join(str(path) for path in args.files)
        print(f"retrace show: no row {args.row} in {named}", file=sys.stderr)
        return 1
    if args.json:
        rows = [{"file": str(path), "row": row} for path, row in found]
        print(printed_json(rows))
    else:
        _print(found, args.full)
    return 0


def find(wanted: str, paths: list[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Rows that have an id beginning with `wanted`, after what they were made from.

    A training row brings its trace, verdict and rewrite, and every row its problem.
    """
    files = [file for path in paths for file in _files(path)]
    found = [(file, row) for file in files for row in _rows(file, wanted, ID_FIELDS)]
    sources: list[tuple[Path, dict[str, Any]]] = []
    for trace in dict.fromkeys(r["trace_id"] for _, r in found if "conversations" in r):
        sources += [(f, r) for f in files for r in _rows(f, trace, ("trace_id",))]
    problems: list[tuple[Path, dict[str, Any]]] = []
    for problem in dict.fromkeys(r.get("problem_id", "") for _, r in found):
        rows = ((f, r) for f in files for r in _rows(f, problem, ("problem_id",)))
        problems += [(f, r) for f, r in rows if problem and "statement" in r]
    unique = {(str(f), json.dumps(r)): (f, r) for f, r in problems + sources + found}
    return list(unique.values())


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]


def _rows(file: Path, wanted: str, fields: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Rows of a file with that id in one of the fields; others are not parsed."""
    needle = f'"{wanted}'.encode()
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if needle not in line:
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(
                    f"{file}:{number}: not JSON ({error}); expected a row on each line"
                ) from error
            if not isinstance(row, dict):
                continue
            if any(str(row.get(field, "")).startswith(wanted) for field in fields):
                yield row


def _print(found: list[tuple[Path, dict[str, Any]]], full: bool) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for path, row in found:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for key, value in row.items():
            # Text objects: neither markup nor escapes in a row reach the terminal.
            grid.add_row(Text(visible(key)), Text(_shown(value, full)))
        console.print(Panel(grid, title=Text(str(path)), title_align="left"))


def _shown(value: Any, full: bool) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return visible(text if full else excerpt(text, LONG))

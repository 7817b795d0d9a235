"""`retrace compare-dataset A B`: two training sets beside each other.

A and B are ShareGPT files, such as train.jsonl or Sky-T1_data_17k.json. A domain with a
question mark is a guess from the solution: the file has none.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from retrace.report.text import visible
from retrace.rows import Problem, RowError, read_rows


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "compare-dataset",
        help="two training sets: overlap, lengths, domains, duplicates, contamination",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", type=Path, help="a ShareGPT file")
    parser.add_argument("b", type=Path, help="a ShareGPT file")
    parser.add_argument(
        "--benchmarks",
        type=Path,
        nargs="*",
        default=[],
        help="files of benchmark problems to search both for",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from retrace.curation import compare

    try:
        left, right = compare.read(args.a), compare.read(args.b)
        known = [row for path in args.benchmarks for row in read_rows(path, Problem)]
    except (compare.DatasetFileError, RowError, OSError) as error:
        print(f"retrace compare-dataset: {error}", file=sys.stderr)
        return 2
    result = {
        "a": compare.describe(left, known),
        "b": compare.describe(right, known),
        "in both": compare.overlap(left, right),
    }
    if args.json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        _print(args, result)
    return 0


def _print(args: argparse.Namespace, result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("")
    for path in (args.a, args.b):
        table.add_column(Text(visible(str(path))))
    left, right = _flat(result["a"]), _flat(result["b"])
    for name in [*left, *(name for name in right if name not in left)]:
        # The names of domains are the files': neither markup nor escapes act.
        table.add_row(
            Text(visible(name)), *(f"{side.get(name, 0):,}" for side in (left, right))
        )
    console = Console()
    console.print(table)
    for name, count in result["in both"].items():
        console.print(f"Problems in both, {name}: {count:,}")


def _flat(values: dict[str, Any], before: str = "") -> dict[str, int]:
    found: dict[str, int] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{name}: ")
        else:
            found[before + name] = value
    return found

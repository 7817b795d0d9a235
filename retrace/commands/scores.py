"""`retrace scores`: the benchmark table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from retrace.report.text import printed_json, visible
from retrace.scoring import table

NUMBERS = ("n", "accuracy", "95 % interval")
STYLES = {"reproduced": "green", "differs": "red", "not distinguishable": "yellow"}


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("scores", help="print the benchmark table")
    add_files(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="one JSON list, without items"
    )
    form.add_argument("--markdown", action="store_true", help="a Markdown table")
    parser.set_defaults(run=run)


def add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        type=Path,
        nargs="*",
        default=[Path("scores")],
        help="score files, or folders of them (default: scores)",
    )


def run(args: argparse.Namespace) -> int:
    try:
        scores = table.read_scores(args.files)
    except (table.ScoreFileError, OSError) as error:
        print(f"retrace scores: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(printed_json(table.records(scores)))
    elif args.markdown:
        print(visible(table.markdown(scores)))
    else:
        _print(scores)
    return 0


def _print(scores: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Without a published number its columns would only hold dashes.
    compared = any(score["published"] for score in scores)
    columns = table.COLUMNS if compared else table.COLUMNS[:-2]
    shown = Table(title="Scores in percent", title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        shown.add_column(
            column,
            justify="right" if column in NUMBERS else "left",
            no_wrap=column in NUMBERS,
            overflow="fold",
        )
    last = ""
    for score in scores:
        values = [Text(visible(cell)) for cell in table.cells(score)[: len(columns)]]
        if score["benchmark"] == last:
            values[0] = Text("")
        elif last:
            shown.add_section()
        last = score["benchmark"]
        if compared:
            values[-1].stylize(STYLES.get(score["verdict"], ""))
        shown.add_row(*values)
    console = Console()
    console.print(shown)
    for line in table.footnotes(scores):
        console.print(Text(line))

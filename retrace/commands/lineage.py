"""`retrace lineage`: the way from a row to its raw problem, every hash checked.

ROW is the id of a training row or a trace (or its beginning), the name of a model, or
MODEL/BENCHMARK/PROBLEM for a problem's part in a score.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

    from retrace.provenance.lineage import Lineage
    from retrace.provenance.workspace import Check

LONG = 400


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "lineage",
        help="follow a row back to its raw problem, or a problem forward",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("row", nargs="?", help="a row, a model, or a score's item")
    parser.add_argument(
        "--from", dest="problem", metavar="PROBLEM", help="what became of a problem"
    )
    parser.add_argument("--full", action="store_true", help="don't shorten values")
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from retrace.provenance.lineage import trace_back, trace_forward
    from retrace.provenance.links import LineageError
    from retrace.provenance.records import RecordError
    from retrace.report.text import printed_json

    if bool(args.row) == bool(args.problem):
        print("retrace lineage: name a ROW, or --from PROBLEM", file=sys.stderr)
        return 2
    try:
        if args.problem:
            found = trace_forward(Path.cwd(), args.problem)
        else:
            found = trace_back(Path.cwd(), args.row)
    except (LineageError, RecordError, OSError, ValueError, KeyError) as error:
        print(f"retrace lineage: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(printed_json(found.as_json()))
    else:
        _print(found, args.full)
    return 0 if found.ok else 1


def _print(found: Lineage, full: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from retrace.report.text import visible

    console = Console(highlight=False)
    console.print(Text(f"{found.kind} {found.of}", "bold"))
    for link in found.links:
        title = Text.assemble((link.name, "bold cyan"), f"  {visible(link.path)}")
        console.print(title, soft_wrap=True)
        for key, value in link.facts.items():
            if value in ("", None, [], {}):
                continue
            line = Text.assemble((f"    {key}  ", "dim"), visible(_shown(value, full)))
            console.print(line, soft_wrap=True)
        for check in link.checks:
            console.print(_mark(check), soft_wrap=True)
    broken = [link for link in found.links if not link.ok]
    if broken:
        names = ", ".join(f"{link.name} {link.path}".strip() for link in broken)
        console.print(Text(f"BROKEN: {names}", "bold red"), soft_wrap=True)
    else:
        checks = sum(c.ok is True for link in found.links for c in link.checks)
        console.print(f"{len(found.links)} links, {checks} checks, all of them right")


def _mark(check: Check) -> Text:
    from rich.text import Text

    mark, style = {
        True: ("ok  ", "green"),
        False: ("BAD ", "bold red"),
        None: ("?   ", "yellow"),
    }[check.ok]
    return Text.assemble("    ", (mark, style), check.what)


def _shown(value: Any, full: bool) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.replace("\n", " ⏎ ")
    return text if full or len(text) <= LONG else f"{text[: LONG - 3]}..."

"""`retrace score`: a gate on the scores, for continuous integration.

Exit codes: 0 nothing differs from its published number; 1 something differs; 2 the
files can't be read; 3 a score is incomplete or, with --strict, undecided.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from retrace.commands.scores import add_files
from retrace.report.text import visible
from retrace.scoring import table
from retrace.scoring.verdicts import DIFFERS, UNDECIDED


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "score",
        help="check the scores against published numbers, with an exit code",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_files(parser)
    parser.add_argument(
        "--strict", action="store_true", help="an undecided comparison fails too"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        scores = table.read_scores(args.files)
    except (table.ScoreFileError, OSError) as error:
        print(f"retrace score: {error}", file=sys.stderr)
        return 2
    codes = [_judge(score, args.strict) for score in scores]
    return 1 if 1 in codes else max(codes)


def _judge(score: dict[str, Any], strict: bool) -> int:
    line = "{benchmark} {model}: {verdict}".format_map(score)
    code = 0
    if not score["complete"]:
        line += f", {score['samples_missing']} samples missing"
        code = 3
    elif strict and score["verdict"] == UNDECIDED:
        code = 3
    if score["verdict"] == DIFFERS:
        code = 1
    for entry in score["published"]:
        line += "\n  " + _explain(score, entry)
    print(visible(line))
    return code


def _explain(score: dict[str, Any], entry: dict[str, Any]) -> str:
    text = (
        f"{table.number(score['accuracy'])} against {table.published(entry)}:"
        f" {entry['difference']:+.1f} points"
        f" ({entry['low']:+.1f} to {entry['high']:+.1f}), {entry['verdict']}"
        f"{_protocol(entry['protocol'])}"
    )
    needed = entry["needed"]
    if needed and needed["problems"]:
        text += f"; {needed['problems']} problems would decide"
        if needed["samples"]:
            text += f", or {needed['samples']} samples of each"
    return text


def _protocol(protocol: dict[str, Any]) -> str:
    """What keeps two numbers from being compared as they stand."""
    if protocol["differences"]:
        return (
            f"; another protocol (theirs, ours): {', '.join(protocol['differences'])}"
        )
    return "" if protocol["known"] else "; its protocol is not stated"

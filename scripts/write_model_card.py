"""Write the card of a student from its manifest, its scores and its training set."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from retrace.rows import write_lines
from retrace.scoring.table import read_scores
from retrace.training.card import card


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    manifest, report = (
        json.loads(path.read_text("utf-8")) for path in (args.manifest, args.report)
    )
    scores = read_scores(args.scores) if args.scores else []
    text = card(manifest, args.base, report, scores, args.base_repository)
    write_lines(args.out, text.splitlines())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--manifest", type=Path, required=True, help="of the student")
    add("--base", required=True, help="what it was tuned from, in words")
    add("--base-repository", help="of the base, if it is on a hub")
    add("--report", type=Path, required=True, help="report.json of its training set")
    add("--scores", type=Path, nargs="*", default=[], help="of the student")
    add("--out", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())

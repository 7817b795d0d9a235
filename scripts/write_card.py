"""Write the card of a training set from its report."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from retrace.curation.card import About, card
from retrace.rows import write_lines


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    report = json.loads(args.report.read_text("utf-8"))
    about = About(licenses=args.licenses, teachers=args.teachers)
    write_lines(args.out, card(args.dataset, report, about).splitlines())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--dataset", required=True, help="its name")
    add("--report", type=Path, required=True, help="report.json of build_dataset")
    add("--licenses", type=json.loads, default={}, help="JSON: of the source, by set")
    add(
        "--teachers",
        type=json.loads,
        default={},
        help="JSON: what a model's name means",
    )
    add("--out", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())

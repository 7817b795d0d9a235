"""Publish a student as its manifest names it; a dry run shows what would go."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from retrace import publishing
from retrace.rows import write_lines


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        target = publishing.Target(args.repo, "model", private=not args.public)
        uploads = publishing.model_files(args.directory, args.card)
        print(publishing.plan(target, uploads), file=sys.stderr)
        if args.dry_run:
            return 0
        receipt = publishing.push(target, uploads, args.token_variable, args.endpoint)
    except (publishing.PublishingError, OSError) as error:
        print(f"push_model: {error}", file=sys.stderr)
        return 1
    write_lines(args.receipt, [json.dumps(receipt, indent=1)])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--directory", type=Path, required=True, help="the student, with its manifest")
    add("--card", type=Path, help="becomes the repository's README")
    add("--repo", required=True, help="target, as owner/name")
    add("--public", action="store_true", help="everybody may read it")
    add("--dry-run", action="store_true", help="show what would go, and stop")
    add("--token-variable", default="HF_TOKEN", help="variable that holds the token")
    add("--endpoint", help="address of another hub")
    add("--receipt", type=Path, required=True, help="written when it is published")
    return parser


if __name__ == "__main__":
    sys.exit(main())

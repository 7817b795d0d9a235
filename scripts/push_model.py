"""Publish a student as its manifest names it; a dry run says what would go."""

from __future__ import annotations

import sys
from pathlib import Path

from retrace import publishing


def main(arguments: list[str] | None = None) -> int:
    parser = publishing.command_line(__doc__)
    add = parser.add_argument
    add("--directory", type=Path, required=True, help="the student, with its manifest")
    add("--card", type=Path, help="becomes the repository's README")
    args = parser.parse_args(arguments)
    files = (args.directory, args.card, args.attestation)
    return publishing.run(args, "model", lambda: publishing.model_files(*files))


if __name__ == "__main__":
    sys.exit(main())

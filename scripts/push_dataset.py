"""Publish a training set with its card; a dry run says what would go."""

from __future__ import annotations

import sys
from pathlib import Path

from retrace import publishing


def main(arguments: list[str] | None = None) -> int:
    parser = publishing.command_line(__doc__)
    for name in ("train", "rejected", "report", "card"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(arguments)
    files = (args.train, args.rejected, args.report, args.card, args.attestation)
    return publishing.run(args, "dataset", lambda: publishing.dataset_files(*files))


if __name__ == "__main__":
    sys.exit(main())

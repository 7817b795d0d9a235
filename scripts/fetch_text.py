"""Write a text that somebody published with a data set, checked by its sha256."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from retrace import environment
from retrace.hub import HubError
from retrace.problems.base import SourceError
from retrace.texts import PublishedText, write_text


def main() -> int:
    args = parse_args()
    environment.require(args.software)
    try:
        write_text(args.out, args.text.fetch())
    except (SourceError, HubError) as error:
        print(f"fetch_text: {error}", file=sys.stderr)
        return 1
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--text", type=PublishedText.model_validate_json, required=True, help="as JSON"
    )
    parser.add_argument("--software", nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

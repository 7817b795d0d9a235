"""Write one shard of a problem set."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from retrace import environment, problems
from retrace.hub import HubError
from retrace.problems.base import SourceError, shard
from retrace.rows import write_rows


def main() -> int:
    args = parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("retrace").setLevel(logging.INFO)
    environment.require(args.software)
    source = problems.open_source(args.source or given_source(args.set))
    try:
        rows = source.problems(args.set)
        write_rows(args.out, shard(rows, args.shards, args.shard))
    except (SourceError, HubError) as error:
        print(f"make_problems: {error}", file=sys.stderr)
        return 1
    return 0


def given_source(set_name: str) -> dict[str, Any]:
    """The set's source as the run hands it to all its jobs."""
    source: dict[str, Any] = json.loads(os.environ[problems.VARIABLE])[set_name]
    return source


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", required=True, help="name of the set")
    parser.add_argument(
        "--source",
        type=json.loads,
        help=f"the set's source as JSON; by default from {problems.VARIABLE}",
    )
    parser.add_argument("--shard", type=int, required=True)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--software", nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Write one shard of a problem set."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from retrace import environment, problems
from retrace.problems.base import shard
from retrace.rows import write_rows


def main() -> None:
    args = parse_args()
    environment.require(args.software)
    source = problems.open_source(json.loads(args.source))
    write_rows(args.out, shard(source.problems(args.set), args.shards)[args.shard])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", required=True, help="name of the set")
    parser.add_argument("--source", required=True, help="the set's source as JSON")
    parser.add_argument("--shard", type=int, required=True)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--software", nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()

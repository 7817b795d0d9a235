"""`retrace schema`: the JSON schema of a config file."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("schema", help="print the schema of a config file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    # Imported late: the models of every stage are behind it.
    from retrace.config import json_schema

    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
    return 0

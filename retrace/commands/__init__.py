"""The commands of `retrace`, one module each: `add_parser` and `run`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_configfile(parser: argparse.ArgumentParser) -> None:
    """The recipe that a command is about, as `--configfile`."""
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[Path("config.yaml")],
        help="config files, each laid over those before it",
    )

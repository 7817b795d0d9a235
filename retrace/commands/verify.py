"""`retrace verify`: hash everything that was recorded again, and say what differs.

Exit codes: 0 all is as recorded, 1 something is not, 2 nothing could be verified.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrace.provenance.verify import Fault, Verified

SHOWN = 50


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "verify",
        help="hash everything that was recorded again",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="*", help="files or folders (default: everything recorded)"
    )
    parser.add_argument(
        "--repair", action="store_true", help="get the recorded bytes back"
    )
    parser.add_argument(
        "--remote",
        nargs="?",
        const="",
        metavar="NAME",
        help="hash what a DVC remote holds (default: the default one), not local files",
    )
    parser.add_argument(
        "--no-rows", action="store_true", help="leave out the ids of the rows"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from retrace.provenance import remote
    from retrace.provenance.ledger import LedgerError
    from retrace.provenance.verify import verify

    root = Path.cwd()
    only = [os.path.relpath(path) for path in args.paths]
    try:
        if args.remote is not None:
            done = remote.verify(root, args.remote or None, only)
        else:
            done = verify(root, only, not args.no_rows)
            if args.repair and any(fault.repairable for fault in done.faults):
                done = _repaired(root, done, only, not args.no_rows)
    except (LedgerError, remote.RemoteError, OSError) as error:
        print(f"retrace verify: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(asdict(done), indent=2))
    else:
        _print(done)
    return 1 if done.faults else 0


def _repaired(root: Path, done: Verified, only: list[str], with_rows: bool) -> Verified:
    from retrace.provenance.repair import repair
    from retrace.provenance.verify import verify

    mended = repair(root, done.faults, lambda line: print(line, file=sys.stderr))
    for path, why in mended.failed.items():
        print(f"retrace verify: {path} cannot be got back: {why}", file=sys.stderr)
    if mended.aside is not None and mended.aside.exists():
        kept = mended.aside.relative_to(root)
        print(f"what lay there before is in {kept}", file=sys.stderr)
    return verify(root, only, with_rows)


def _print(done: Verified) -> None:
    for fault in done.faults[:SHOWN]:
        print(_line(fault))
    if len(done.faults) > SHOWN:
        print(f"and {len(done.faults) - SHOWN} more; --json has all")
    for path in done.excluded:
        print(f"{path}: confidential, kept from remotes, not looked at")
    seconds = done.seconds["hash"]
    speed = done.size / 1e6 / seconds if seconds else 0.0
    print(
        f"{done.files} files, {done.size / 1e6:,.1f} MB hashed from nothing at"
        f" {speed:,.0f} MB/s; {done.checksums} checksums of Snakemake's and the rows of"
        f" {done.rows_of} files compared"
    )
    paths = len({fault.path for fault in done.faults})
    print(f"{paths} are not as recorded" if paths else "all is as recorded")


def _line(fault: Fault) -> str:
    what = fault.what.removeprefix(f"{fault.path}:")
    return f"{fault.path}: {what.strip()} [{fault.witness}]\n    {fault.mend}"

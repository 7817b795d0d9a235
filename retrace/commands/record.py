"""`retrace record`: let DVC record what Snakemake made, if it is what it should be."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrace.provenance.gate import Finding
    from retrace.provenance.record import Recorded

SHOWN = 12


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "record", help="record a finished recipe in dvc.yaml and dvc.lock"
    )
    parser.add_argument(
        "--configfile",
        nargs="+",
        default=[],
        help="the recipe's config files (default: those recorded before)",
    )
    parser.add_argument(
        "--stages",
        action="store_true",
        help="only write dvc.yaml, for `dvc repro` to make the recipe from nothing",
    )
    parser.add_argument("--wait", type=float, default=60.0, help="seconds, for a lock")
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    # By the workflow itself: it holds Snakemake's lock, and succeeded already.
    parser.add_argument("--within-run", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from retrace.provenance import jobs, ledger, records, stages
    from retrace.provenance.record import RecordingError, RefusedError, record

    if args.within_run and os.environ.get("DVC_STAGE"):
        return 0  # `dvc repro` records by itself
    root = Path.cwd()
    known = stages.origin(root)
    configfiles = args.configfile or (known.configfiles if known else ["config.yaml"])
    try:
        if args.stages:
            text = stages.render(jobs.plan(root, configfiles), configfiles, root)
            (root / stages.FILE).write_text(text, "utf-8")
            print(f"{stages.FILE} is written: `dvc repro` makes the recipe")
            return 0
        done = record(
            root, configfiles, within_run=args.within_run, wait=args.wait, tell=_tell
        )
    except RefusedError as error:
        _refuse(error.findings, args)
        return 0 if args.within_run else 1
    except (
        RecordingError,
        jobs.PlanError,
        records.RecordError,
        ledger.LedgerError,
        OSError,
    ) as error:
        print(f"retrace record: not recorded: {error}", file=sys.stderr)
        return 0 if args.within_run else 1
    _report(done, args.json)
    return 0


def _tell(line: str) -> None:
    print(f"retrace record: {line}", file=sys.stderr)


def _refuse(found: list[Finding], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps([{"what": f.what, "mend": f.mend} for f in found], indent=2))
    stale = [finding for finding in found if finding.is_stale]
    if args.within_run and stale:
        # A run of some targets is no fault: the next whole run records it all.
        _tell(f"not recorded yet: {stale[0].what.partition(',')[0]}")
        return
    _tell(f"not recorded: {len(found)} things are in the way")
    for finding in found[:SHOWN]:
        print(f"  {finding}", file=sys.stderr)
    if len(found) > SHOWN:
        print(f"  and {len(found) - SHOWN} more; --json has all", file=sys.stderr)


def _report(done: Recorded, as_json: bool) -> None:
    if as_json:
        print(json.dumps(vars(done), indent=2))
        return
    took = sum(done.seconds.values())
    print(
        f"recorded {done.files} files ({done.size / 1e6:,.1f} MB) of recipe"
        f" {done.recipe} in {done.stages} stages, {took:.1f} s"
    )
    print("To keep and share it: git add dvc.yaml dvc.lock && git commit && dvc push")

"""`retrace attest`: a statement that travels with a released artefact, or its check.

Exit codes: 0 written, or it holds; 1 a file is not the attested one; 2 neither.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "attest",
        help="write, or check, the provenance statement of an artefact",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "artefact", help="recorded file or folder, such as models/student"
    )
    parser.add_argument("--out", type=Path, help="file (default: standard output)")
    parser.add_argument(
        "--check", type=Path, metavar="STATEMENT", help="hold a folder against one"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from retrace.provenance.attest import AttestationError, attest, check
    from retrace.provenance.ledger import LedgerError
    from retrace.provenance.records import RecordError

    try:
        if args.check:
            wrong = check(args.check, Path(args.artefact))
            print("\n".join(wrong) or f"{args.artefact} is what {args.check} attests")
            return 1 if wrong else 0
        statement = attest(Path.cwd(), args.artefact)
    except (AttestationError, LedgerError, RecordError, OSError) as error:
        print(f"retrace attest: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"retrace attest: {error}: `make install` installs it", file=sys.stderr)
        return 2
    text = json.dumps(statement, indent=2, ensure_ascii=False) + "\n"
    if args.out:
        args.out.write_text(text, "utf-8")
        print(f"{args.out}: {len(statement['subject'])} files attested")
    else:
        print(text, end="")
    return 0

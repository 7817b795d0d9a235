"""Write the traces that a source brings for one shard of its problems."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from retrace import environment, problems
from retrace.hub import HubError
from retrace.problems.base import SourceError
from retrace.problems.table import Table
from retrace.rows import (
    Problem,
    Trace,
    Usage,
    content_id,
    read_rows,
    write_lines,
    write_rows,
)
from retrace.sampling import describe_contracts


def main() -> int:
    args = parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    environment.require(args.software)
    try:
        count = write_rows(args.out, imported(args))
    except (SourceError, HubError) as error:
        print(f"import_traces: {error}", file=sys.stderr)
        return 1
    contract = {"engine": "imported", "set": args.problems.parent.name, **args.engine}
    lines = describe_contracts(args.model, Counter({json.dumps(contract): count}))
    write_lines(args.engine_out, lines)
    return 0


def imported(args: argparse.Namespace) -> Iterator[Trace]:
    """The traces of the shard's problems, in their order.

    A problem that the source has twice, with two traces, has two samples.
    """
    source = problems.open_source(args.source)
    if not isinstance(source, Table):
        raise SourceError(f"a source of kind {source.kind} brings no traces")  # type: ignore[attr-defined]
    wanted = [row.problem_id for row in read_rows(args.problems, Problem)]
    texts: dict[str, dict[str, None]] = {key: {} for key in wanted}
    for problem, text in source.traced(args.problems.parent.name):
        if problem.problem_id in texts:
            texts[problem.problem_id].setdefault(text)
    for problem_id in wanted:
        for sample, text in enumerate(texts[problem_id]):
            yield Trace(
                trace_id=content_id([problem_id, "imported", text]),
                problem_id=problem_id,
                model=args.model,
                sample=sample,
                text=text,
                finish_reason="stop",
                usage=Usage(),
            )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--problems", type=Path, required=True)
    add("--source", type=json.loads, required=True, help="the set's source as JSON")
    add("--engine", type=json.loads, required=True, help="what is known of the model")
    add("--model", required=True, help="name of the model that wrote the traces")
    add("--software", nargs="*", default=[])
    add("--out", type=Path, required=True)
    add("--engine-out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

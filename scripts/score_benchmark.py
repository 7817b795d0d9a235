"""Score a model on a benchmark: its verdicts become numbers with intervals."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from retrace import environment
from retrace.rows import Problem, RowError, Trace, Verdict, read_rows, write_lines
from retrace.scoring import benchmark
from retrace.scoring.verdicts import MARGIN

log = logging.getLogger("score_benchmark")
R = TypeVar("R", bound=BaseModel)


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s"
    )
    environment.require(args.software)
    try:
        result = benchmark.score(
            args.model,
            args.benchmark,
            _rows(args.problems, Problem),
            _rows(args.traces, Trace),
            _rows(args.verdicts, Verdict),
            args.samples,
            args.protocol,
            args.published,
            args.margin,
        )
    except (benchmark.ScoreError, RowError, OSError) as error:
        print(f"score_benchmark: {error}", file=sys.stderr)
        return 1
    write_lines(args.out, [benchmark.dumps(result)])
    log.info(
        "%s on %s: accuracy %s, %d of %d samples judged",
        args.model,
        args.benchmark,
        result["accuracy"],
        result["samples_judged"],
        result["samples_expected"],
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--benchmark", required=True)
    parser.add_argument("--problems", type=Path, nargs="+", required=True)
    parser.add_argument("--traces", type=Path, nargs="+", required=True)
    parser.add_argument("--verdicts", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--samples",
        type=_samples,
        required=True,
        help="JSON: samples wanted of each set's problems",
    )
    parser.add_argument(
        "--protocol", type=json.loads, default={}, help="JSON: how the number is made"
    )
    parser.add_argument(
        "--published",
        type=json.loads,
        default=[],
        help="JSON list of published scores",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        help="points within which a score counts as reproduced (default %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--software", nargs="*", default=[], help="name==version pins")
    return parser


def _samples(text: str) -> dict[str, int]:
    counts = json.loads(text)
    if not isinstance(counts, dict) or not all(
        type(count) is int and count > 0 for count in counts.values()
    ):
        raise argparse.ArgumentTypeError(
            f'found {text}, expected at least 1 for each set: {{"set": 1}}'
        )
    return counts


def _rows(files: list[Path], model: type[R]) -> Iterator[R]:
    return chain.from_iterable(read_rows(file, model) for file in files)


if __name__ == "__main__":
    sys.exit(main())

"""Judge a shard of traces: one verdict with a reason for every trace, in order."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from retrace.environment import require
from retrace.judging import judge_traces, open_judge
from retrace.rows import Problem, Trace, Verdict, read_rows, write_lines, write_rows
from retrace.stopping import command
from retrace.terms import VARIABLE, terms_of

log = logging.getLogger("judge_traces")


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    log.setLevel(logging.INFO)
    require(args.software)
    config = json.loads(args.judge)
    problems = {row.problem_id: row for row in read_rows(args.problems, Problem)}
    traces = read_rows(args.traces, Trace)
    counts: Counter[str] = Counter()
    with open_judge(config, args.threads) as judge:
        if args.judge_reach:
            judge.connect(args.judge_reach, args.terms)
        verdicts = judge_traces(judge, problems, traces)
        count = write_rows(args.out, _counted(verdicts, counts))
        contract = json.dumps(judge.contract(), sort_keys=True, ensure_ascii=False)
        write_lines(args.contract_out, [contract])
    log.info("%d verdicts: %s", count, _summary(counts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=Path, required=True)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--judge", required=True, help="the judge's policy, as JSON")
    parser.add_argument("--threads", type=int, default=1, help="worker processes")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--contract-out", type=Path, required=True)
    parser.add_argument(
        "--judge-reach",
        type=json.loads,
        help="for a judge that asks a model: engine, weights, revision, journals and"
        " journal, as JSON",
    )
    terms = os.environ.get(VARIABLE, "{}")
    parser.add_argument("--terms", type=terms_of, default=terms, help="of each model")
    parser.add_argument("--software", nargs="*", default=[], help="name==version pins")
    return parser


def _counted(
    verdicts: Iterable[Verdict], counts: Counter[str], seconds: float = 10.0
) -> Iterator[Verdict]:
    """Pass verdicts on; count their reasons, a model's apart; log progress."""
    last = time.monotonic()
    for verdict in verdicts:
        model = " by a model" if verdict.by == "llm" else ""
        counts[f"{verdict.reason.value}{model}"] += 1
        yield verdict
        if time.monotonic() - last > seconds:
            last = time.monotonic()
            log.info("%d so far: %s", counts.total(), _summary(counts))


def _summary(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(command(main))

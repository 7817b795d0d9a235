"""Rewrite the right traces of a shard into a thought and a solution, judged again."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from retrace import engines, environment, rewriting
from retrace.journal import Journal, journals_under
from retrace.judging import open_judge
from retrace.rows import Problem, Rewrite, Trace, Verdict, read_rows, write_rows
from retrace.sampling import FAILURES, Request, Sampling, ask
from retrace.stopping import command
from retrace.terms import VARIABLE, Terms, terms_of

log = logging.getLogger("rewrite_traces")


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    log.setLevel(logging.INFO)
    environment.require(args.software)
    rewriter = json.loads(args.rewriter)
    checks = rewriting.Checks.model_validate((rewriter or {}).get("checks", {}))
    problems = {row.problem_id: row for row in read_rows(args.problems, Problem)}
    verdicts = {row.trace_id: row for row in read_rows(args.verdicts, Verdict)}
    traces = rewriting.wanted(read_rows(args.traces, Trace), verdicts, checks)
    responses = ask_all(args, rewriter, problems, traces) if rewriter else {}
    counts: Counter[str] = Counter()
    with open_judge(json.loads(args.judge), args.threads) as judge:
        if args.judge_reach:
            judge.connect(args.judge_reach, args.terms)
        rows = rewriting.rewrite(problems, traces, responses, checks, judge)
        count = write_rows(args.out, _counted(rows, counts))
    log.info("%d rewrites of %d traces", count, len(verdicts))
    for name, number in sorted(counts.items()):
        log.info("  %s: %d", name, number)
    return 0


def ask_all(
    args: argparse.Namespace,
    rewriter: dict[str, Any],
    problems: dict[str, Problem],
    traces: list[Trace],
) -> dict[str, rewriting.Response]:
    """What the rewriting model makes of each trace, by the trace's id."""
    prompt = rewriting.Prompt.model_validate(rewriter["prompt"])
    sampling = Sampling.model_validate(rewriter["sampling"])
    requests = [
        Request(rewriting.messages(prompt, problems[trace.problem_id], trace), sampling)
        for trace in traces
    ]
    log_file = args.journal.with_suffix(".engine.log")
    about = {"model": rewriter["model"], "set": args.problems.parent.name}
    others = journals_under(args.journals)
    terms = args.terms.get(rewriter["model"], Terms())
    settings = args.engine | terms.operation
    with (
        Journal(args.journal, others) as journal,
        engines.load(settings, args.weights, args.revision, log_file) as engine,
    ):
        answers = ask(
            requests,
            engine,
            journal,
            terms.effort,
            budget=terms.open_budget(others, args.journal),
            about=about,
        )
        ids = (trace.trace_id for trace in traces)
        return dict(zip(ids, answers, strict=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=Path, required=True)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--verdicts", type=Path, required=True)
    parser.add_argument("--judge", required=True, help="the judge's policy, as JSON")
    parser.add_argument(
        "--rewriter",
        required=True,
        help="model, prompt, sampling and checks as JSON; null divides by the rule",
    )
    parser.add_argument(
        "--judge-reach",
        type=json.loads,
        help="for a judge that asks a model: engine, weights, revision, journals and"
        " journal, as JSON",
    )
    parser.add_argument("--engine", type=json.loads, help="the model's engine as JSON")
    terms = os.environ.get(VARIABLE, "{}")
    parser.add_argument("--terms", type=terms_of, default=terms, help="of each model")
    parser.add_argument("--weights", help="directory, hub id or the API's name")
    parser.add_argument("--revision", default="", help="commit of a hub id")
    parser.add_argument("--journals", type=Path, help="folder of the model's journals")
    parser.add_argument("--journal", type=Path, help="the journal that this job writes")
    parser.add_argument("--threads", type=int, default=1, help="judge processes")
    parser.add_argument("--software", nargs="*", default=[], help="name==version pins")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def _counted(rows: Iterable[Rewrite], counts: Counter[str]) -> Iterator[Rewrite]:
    """Pass rewrites on; count who wrote them and why a model's was turned down."""
    for row in rows:
        counts[f"by {row.by}, {row.verdict.reason.value}"] += 1
        if row.rejected:
            counts[f"turned down for {row.rejected.partition(':')[0]}"] += 1
        yield row


if __name__ == "__main__":
    sys.exit(command(main, FAILURES))

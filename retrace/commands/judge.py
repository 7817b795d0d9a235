"""`retrace judge GOLD ANSWER`: judge one answer, and say how it came to that.

Exit codes: 0 correct; 1 not correct; 2 the reference or the policy cannot be used.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import Any

from retrace.judging import extraction, open_judge
from retrace.judging.base import Judgement
from retrace.rows import Answer, Domain, Problem, Reason


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "judge",
        help="judge one answer against a reference, and explain the verdict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("gold", help="the reference answer, or a worked solution")
    parser.add_argument("answer", help="an answer, or a whole response")
    parser.add_argument(
        "--policy", default='{"kind": "math"}', help="the judge's policy, as JSON"
    )
    # What `-1` may be to argparse, `-\\frac{1}{2}` and `-x` may be too: no option.
    parser._negative_number_matcher = re.compile(r"-(?!-|h$)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        config = _policy(args.policy)
        with open_judge(config) as judge:
            found = explain(judge, args.gold, args.answer)
    except ValueError as error:
        print(f"retrace judge: {error}", file=sys.stderr)
        return 2
    for line in lines(args.gold, found):
        print(line)
    if found.reason in (Reason.UNPARSABLE_REFERENCE, Reason.JUDGE_ERROR):
        return 2
    return 0 if found.reason is Reason.CORRECT else 1


def _policy(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"--policy {text!r} is no JSON ({error}): write it like"
            ' \'{"kind": "choice"}\''
        ) from error


def explain(judge: Any, gold: str, answer: str) -> Judgement:
    """Judge a text that may be a bare answer: then it is boxed first."""
    problem = Problem.make("command line", Domain.MATH, "", Answer(answer=gold))
    if extraction.find(answer, list(extraction.FORMS)) is None:
        answer = f"\\boxed{{{extraction.loose(answer)}}}"
    found: Judgement = next(iter(judge.judge([(problem, answer)])))
    return found


def lines(gold: str, found: Judgement) -> list[str]:
    return [
        f"verdict    {found.reason.value}",
        f"reference  {gold}",
        f"answer     {found.answer or '(none found)'}",
        f"decided by {found.by or '(no layer)'}",
        f"why        {found.detail or 'they are equal'}",
    ]

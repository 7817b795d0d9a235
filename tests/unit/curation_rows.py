"""Small problems, traces and verdicts for the tests of curation."""

from __future__ import annotations

import random

from retrace.rewriting import divide
from retrace.rows import (
    Answer,
    Domain,
    Problem,
    Reason,
    Rewrite,
    Trace,
    Usage,
    Verdict,
    content_id,
)

_NOUNS = (
    "apples bricks candles drums engines flags gloves hats inks jars kites lamps maps"
    " nails oars pans quilts ropes sacks tents urns vases wheels yarns zithers"
)
NOUNS = _NOUNS.split()
_PLACES = "market harbour library garden station bakery museum quarry"
PLACES = _PLACES.split()


def problem(number: int, set_name: str = "stock", **meta: object) -> Problem:
    """A word problem that shares no long phrase with any other number's."""
    draw = random.Random(number)
    nouns = draw.sample(NOUNS, 4)
    a, b = draw.randint(20, 999), draw.randint(2, 19)
    statement = (
        f"At the {draw.choice(PLACES)} a keeper counts {a} {nouns[0]} before {nouns[1]}"
        f" arrive in {b} crates marked {nouns[2]} {number}; how many {nouns[3]} or"
        f" {nouns[0]} follow?"
    )
    return Problem.make(
        set_name, Domain.MATH, statement, Answer(answer=str(a + b)), meta
    )


def trace(of: Problem, sample: int = 0, text: str = "", tokens: int = 40) -> Trace:
    answer = of.reference.answer if isinstance(of.reference, Answer) else ""
    text = text or (
        f"Let me think about {of.statement[:40]} as sample {sample}.\n\n"
        f"Adding the two numbers gives {answer}.\n\nThe answer is \\boxed{{{answer}}}."
    )
    return Trace(
        trace_id=content_id([of.problem_id, sample, text]),
        problem_id=of.problem_id,
        model="teacher",
        sample=sample,
        text=text,
        finish_reason="stop",
        usage=Usage(prompt_tokens=10, completion_tokens=tokens),
    )


def verdict(of: Trace, ok: bool = True, answer: str = "") -> Verdict:
    return Verdict(
        trace_id=of.trace_id,
        problem_id=of.problem_id,
        sample=of.sample,
        ok=ok,
        reason=Reason.CORRECT if ok else Reason.WRONG_ANSWER,
        answer=answer,
    )


def rewrite(of: Problem, written: Trace, judged: Verdict) -> Rewrite:
    division = divide(of, written)
    return Rewrite(
        trace_id=written.trace_id,
        problem_id=of.problem_id,
        sample=written.sample,
        thought=division.thought,
        solution=division.solution,
        by="rule",
        faithful=1.0,
        verdict=judged,
    )

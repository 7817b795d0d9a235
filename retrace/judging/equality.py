"""Is this answer equal to that reference? In layers, cheapest first.

A layer says equal, unequal, or "not mine", and then the next is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from retrace.judging import numbers
from retrace.judging.rounding import Rounding, same
from retrace.judging.tidy import key, tidy

MAX_LENGTH = 4000
"""Longer answers are compared as texts only: no reference is that long."""


@dataclass(frozen=True)
class Decision:
    """equal is None where no layer could read the two sides."""

    equal: bool | None
    by: str
    detail: str = ""


def quick(gold: str, answer: str, rounding: Rounding = "written") -> Decision | None:
    """The layers that are linear in the input: texts, then plain numbers."""
    if gold == answer:
        return Decision(True, "text")
    if len(answer) > MAX_LENGTH:
        return Decision(False, "text", f"the answer has {len(answer)} characters")
    tidy_gold, tidy_answer = tidy(gold), tidy(answer)
    if not tidy_answer:
        return Decision(False, "text", "the answer is empty")
    if key(tidy_gold) == key(tidy_answer):
        return Decision(True, "text")
    one, other = numbers.read(tidy_gold), numbers.read(tidy_answer)
    if one is None or other is None:
        return None
    if same(one, other, rounding):
        return Decision(True, "number")
    return Decision(False, "number", f"{one.value} is not {other.value}")


def symbolic(gold: str, answer: str) -> Decision:
    """What `math-verify` says. Runs in a worker only: it may hang or grow."""
    from math_verify import parse, verify  # type: ignore[import-untyped]

    references = parse(f"$\\boxed{{{gold}}}$", parsing_timeout=None)
    answers = parse(f"$\\boxed{{{answer}}}$", parsing_timeout=None)
    if not references or not answers:
        return Decision(None, "math-verify", "it reads no mathematics here")
    equal = verify(references, answers, timeout_seconds=None)
    return Decision(equal, "math-verify", "" if equal else "not equal")


def slow(gold: str, answer: str) -> list[bool | str | None]:
    """The layers for a worker process, as JSON."""
    decision = symbolic(gold, answer)
    return [decision.equal, decision.by, decision.detail]

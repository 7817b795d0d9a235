"""Judges answers to mathematical problems: numbers, expressions, sets, intervals."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from retrace.judging import equality, extraction, published
from retrace.judging.base import Judgement
from retrace.judging.equality import Decision
from retrace.judging.pool import Outcome, Pool
from retrace.judging.pooled import Asked, PooledJudge
from retrace.judging.rounding import Rounding
from retrace.rows import Answer, Problem, Reason
from retrace.sections import parse

# Packages whose version can change what this module gives.
SOFTWARE = ("math-verify", "sympy", "mpmath", "latex2sympy2-extended")

MAX_REFERENCE = 2000
_NO_REFERENCE = re.compile(
    r"(?:proof|see (?:the )?solution|not ?found|n/?a|none given)\.?", re.IGNORECASE
)


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["math"] = "math"
    forms: list[extraction.Form] = Field(
        default=list(extraction.FORMS),
        description="where an answer may stand, in order of preference",
    )
    thought: bool = Field(
        default=False,
        description="where the solution holds no answer, the last box of the thought"
        " counts",
    )
    protocol: Literal["retrace", "as_published"] = Field(
        default="retrace",
        description="as_published: extraction and comparison as behind SkyThought's"
        " published scores; forms and rounding are then not used",
    )
    rounding: Rounding = Field(
        default="written", description="which decimals stand for which numbers"
    )
    seconds: float = Field(
        default=5.0, gt=0, description="CPU seconds for one comparison in a worker"
    )
    memory_mb: int = Field(
        default=512, ge=256, description="address space of a worker process"
    )


class Judge(PooledJudge[Policy]):
    software = SOFTWARE

    def __init__(self, policy: Policy, workers: int = 1) -> None:
        target = "retrace.judging.equality:slow"
        super().__init__(
            policy, Pool(target, workers, policy.seconds, policy.memory_mb)
        )

    def prepare(self, problem: Problem, response: str) -> Judgement | Asked:
        gold = reference(problem)
        if isinstance(gold, Judgement):
            return gold
        if self.policy.protocol == "as_published":
            return _published(gold, response)
        sections = parse(response)
        found = extraction.find(sections.solution, self.policy.forms)
        if found is None and self.policy.thought:
            found = extraction.find(sections.thought, ["boxed"])
        if found is None:
            detail = f"none of {', '.join(self.policy.forms)} is in the solution"
            return Judgement(Reason.NO_ANSWER, detail=detail)
        answer = whole_answer(gold, found)
        decision = equality.quick(gold, answer, self.policy.rounding)
        if decision is not None:
            return _judgement(answer, decision)
        return answer, [gold, answer, self.policy.rounding]

    def settle(self, answer: str, outcome: Outcome) -> Judgement:
        if outcome.failure:
            return Judgement(Reason(outcome.failure), answer, "worker", outcome.detail)
        decision = Decision(*outcome.value)
        if decision.equal is None:
            why = decision.detail
            return Judgement(Reason.UNPARSABLE_REFERENCE, answer, decision.by, why)
        return _judgement(answer, decision)


def _published(gold: str, response: str) -> Judgement | Asked:
    answer = published.answer(response)
    if not answer:
        return Judgement(Reason.NO_ANSWER, detail="not even a number")
    equal = published.decide(gold, answer) if len(answer) <= equality.MAX_LENGTH else 0
    if equal is None:
        return answer, [gold, answer, "published"]
    return _judgement(answer, Decision(bool(equal), "published"))


def reference(problem: Problem) -> str | Judgement:
    """The reference's text, or the judgement that it cannot be judged against."""
    if not isinstance(problem.reference, Answer):
        detail = f"the reference is {problem.reference.kind!r}, expected an answer"
        return Judgement(Reason.UNPARSABLE_REFERENCE, detail=detail)
    gold = problem.reference.answer.strip()
    detail = ""
    if "\\boxed" in gold:
        found = extraction.find(gold, ["boxed"])
        if found is None:
            detail = "the reference has a box that is never closed"
        elif len(found.group) != len(found.boxes):
            detail = f"the reference has {len(found.boxes)} boxes, for several parts"
        else:
            gold = ", ".join(found.group)
    if not gold or _NO_REFERENCE.fullmatch(gold):
        detail = f"the reference is {gold!r}"
    elif len(gold) > MAX_REFERENCE:
        detail = f"the reference has {len(gold)} characters"
    if detail:
        return Judgement(Reason.UNPARSABLE_REFERENCE, detail=detail)
    return gold


def whole_answer(gold: str, found: extraction.Found) -> str:
    """The answer in one box, or in several where it was given in several.

    Boxes that only "and" or a comma divide are one answer. Boxes further apart are one
    where the reference has as many parts as there are boxes.
    """
    group, boxes = list(dict.fromkeys(found.group)), list(dict.fromkeys(found.boxes))
    if len(boxes) > 1:
        parts = extraction.pieces(gold)
        if len(group) < parts == len(boxes):
            return ", ".join(boxes)
        if len(group) > 1:
            return ", ".join(group)
    return found.answer


def _judgement(answer: str, decision: Decision) -> Judgement:
    reason = Reason.CORRECT if decision.equal else Reason.WRONG_ANSWER
    return Judgement(reason, answer, decision.by, decision.detail)

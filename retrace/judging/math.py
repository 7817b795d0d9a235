"""Judges answers to mathematical problems: numbers, expressions, sets, intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from retrace.judging import base, equality, extraction
from retrace.judging.base import Judgement
from retrace.judging.equality import Decision
from retrace.judging.pool import Outcome, Pool
from retrace.judging.rounding import Rounding
from retrace.rows import Answer, Problem, Reason
from retrace.sections import parse

# Packages whose version can change what this module gives.
SOFTWARE = ("math-verify", "sympy", "latex2sympy2-extended")


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["math"] = "math"
    forms: list[extraction.Form] = Field(
        default=list(extraction.FORMS),
        description="where an answer may stand, in order of preference",
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


class Judge(base.Judge[Policy]):
    def __init__(self, policy: Policy, workers: int = 1) -> None:
        super().__init__(policy, workers)
        self._pool = Pool(
            "retrace.judging.equality:slow",
            workers=workers,
            cpu_seconds=policy.seconds,
            memory_mb=policy.memory_mb,
            preload=["math_verify"],
        )

    def __exit__(self, *error: Any) -> None:
        self._pool.__exit__(*error)

    def judge(self, items: Iterable[tuple[Problem, str]]) -> Iterator[Judgement]:
        entries = (self._prepare(problem, response) for problem, response in items)
        for (early, answer), outcome in self._pool.run(entries):
            yield early if early is not None else _settle(answer, outcome)

    def contract(self) -> dict[str, Any]:
        from importlib.metadata import version

        libraries = {name: version(name) for name in ("math-verify", "sympy")}
        return {**super().contract(), "libraries": libraries}

    def _prepare(
        self, problem: Problem, response: str
    ) -> tuple[tuple[Judgement | None, str], list[Any] | None]:
        """Decide at once, or name what a worker has to compare."""
        gold = reference(problem)
        if isinstance(gold, Judgement):
            return (gold, ""), None
        found = extraction.find(parse(response).solution, self.policy.forms)
        if found is None:
            detail = f"none of {', '.join(self.policy.forms)} is in the solution"
            return (Judgement(Reason.NO_ANSWER, detail=detail), ""), None
        answer = found.answer
        decision = equality.quick(gold, answer, self.policy.rounding)
        if decision is not None:
            return (_judgement(answer, decision), answer), None
        return (None, answer), [gold, answer]


def reference(problem: Problem) -> str | Judgement:
    """The reference's text, or the judgement that it cannot be judged against."""
    if not isinstance(problem.reference, Answer):
        detail = f"the reference is {problem.reference.kind!r}, expected an answer"
        return Judgement(Reason.UNPARSABLE_REFERENCE, detail=detail)
    gold = problem.reference.answer.strip()
    if not gold:
        return Judgement(Reason.UNPARSABLE_REFERENCE, detail="the reference is empty")
    return gold


def _settle(answer: str, outcome: Outcome | None) -> Judgement:
    assert outcome is not None
    if outcome.failure:
        return Judgement(Reason(outcome.failure), answer, "worker", outcome.detail)
    return _judgement(answer, Decision(*outcome.value))


def _judgement(answer: str, decision: Decision) -> Judgement:
    reason = Reason.CORRECT if decision.equal else Reason.WRONG_ANSWER
    return Judgement(reason, answer, decision.by, decision.detail)

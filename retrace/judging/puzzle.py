"""Judges generated puzzles with their generator's own scorer, behind a guard.

A scorer of `reasoning-gym` may give points to garbage, raise, or take long. So: only a
full score is right, the answer is stripped, it runs in a worker that can be killed, and
families whose scorer cannot tell right from wrong are refused as references.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from retrace.judging import extraction
from retrace.judging.base import Judgement
from retrace.judging.pool import Outcome, Pool
from retrace.judging.pooled import Asked, PooledJudge
from retrace.rows import Problem, Puzzle, Reason
from retrace.sections import parse

# Packages whose version can change what this module gives.
SOFTWARE = ("reasoning-gym", "sympy")

UNSOUND = {
    "game_of_life_halting": "gives full points to any text when the answer is True",
    "coin_flip": "gives full points to 0",
    "polynomial_equations": "gives points to 0 where 0 is one of several roots",
}
"""Families whose scorer passes wrong answers, and how."""


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["puzzle"] = "puzzle"
    forms: list[extraction.Form] = Field(
        default=["answer_tag", "boxed", "final_answer"],
        description="where an answer may stand, in order of preference",
    )
    whole: bool = Field(
        default=False,
        description="without any of the forms, the solution is the answer",
    )
    seconds: float = Field(default=10.0, gt=0, description="CPU seconds of one scoring")
    memory_mb: int = Field(
        default=1024, ge=256, description="address space of a worker process"
    )


class Judge(PooledJudge[Policy]):
    software = SOFTWARE

    def __init__(self, policy: Policy, workers: int = 1) -> None:
        target, preload = "retrace.judging.puzzle:score", ["reasoning_gym"]
        super().__init__(
            policy, Pool(target, workers, policy.seconds, policy.memory_mb, preload)
        )

    def prepare(self, problem: Problem, response: str) -> Judgement | Asked:
        refused = _refused(problem)
        if refused:
            return Judgement(Reason.UNPARSABLE_REFERENCE, detail=refused)
        solution = parse(response).solution
        found = extraction.find(solution, self.policy.forms)
        answer = found.answer if found else solution if self.policy.whole else ""
        if not answer.strip():
            return Judgement(Reason.NO_ANSWER, detail="no answer was found")
        assert isinstance(problem.reference, Puzzle)
        family, entry = problem.reference.family, problem.reference.entry
        return answer, [family, entry, answer.strip()]

    def settle(self, answer: str, outcome: Outcome) -> Judgement:
        if outcome.failure == "judge_error":
            # These scorers raise on answers they did not expect: such one is wrong.
            detail = f"the scorer failed: {outcome.detail}"
            return Judgement(Reason.WRONG_ANSWER, answer, "puzzle", detail)
        if outcome.failure:
            return Judgement(Reason(outcome.failure), answer, "puzzle", outcome.detail)
        points, own, garbage = outcome.value
        if own < 1.0 or garbage >= 1.0:
            detail = (
                f"the scorer gives its own answer {own:.3g}, nonsense {garbage:.3g}"
            )
            return Judgement(Reason.UNPARSABLE_REFERENCE, answer, "puzzle", detail)
        if points >= 1.0:
            return Judgement(Reason.CORRECT, answer, "puzzle")
        detail = f"{points:.3g} of 1 point"
        return Judgement(Reason.WRONG_ANSWER, answer, "puzzle", detail)


PROBES = ("?", "no answer", "-31337")
"""Nonsense that no sound scorer gives full points to."""


def score(family: str, entry: str, answer: str) -> list[float]:
    """Points, 0 to 1, of an answer, of the reference itself and of nonsense."""
    import reasoning_gym

    row = json.loads(entry)
    options = row.get("metadata", {}).get("config", {})
    dataset = reasoning_gym.create_dataset(family, size=1, seed=0, **options)
    points = float(dataset.score_answer(answer, entry=row))
    own = float(dataset.score_answer(str(row["answer"]), entry=row))
    garbage = max(_points(dataset, probe, row) for probe in PROBES)
    return [points, own, garbage]


def _points(dataset: Any, probe: str, row: dict[str, Any]) -> float:
    """The points of a nonsense answer; a scorer that raises gives it none."""
    if probe == str(row["answer"]).strip():
        return 0.0
    try:
        return float(dataset.score_answer(probe, entry=row))
    except Exception:
        return 0.0


def _refused(problem: Problem) -> str:
    """Why a reference cannot be judged against, or nothing."""
    if not isinstance(problem.reference, Puzzle):
        return f"the reference is {problem.reference.kind!r}, expected a puzzle"
    if problem.reference.family in UNSOUND:
        unsound = UNSOUND[problem.reference.family]
        return f"the scorer of {problem.reference.family} {unsound}"
    try:
        row = json.loads(problem.reference.entry)
    except ValueError as error:
        return f"the entry is not JSON: {error}"
    if not isinstance(row, dict) or row.get("answer") is None:
        return "the entry has no answer, so its scorer cannot be checked against it"
    return ""

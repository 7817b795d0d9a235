"""Judges short answers by their text: puzzles, words, code outputs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from retrace.judging import base, extraction
from retrace.judging.base import Judgement
from retrace.rows import Answer, Problem, Reason
from retrace.sections import parse


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["exact"] = "exact"
    forms: list[extraction.Form] = Field(
        default=list(extraction.FORMS),
        description="where an answer may stand, in order of preference",
    )
    whole: bool = Field(
        default=True, description="without any of the forms, the solution is the answer"
    )
    case: bool = Field(default=False, description="upper and lower case differ")


class Judge(base.Judge[Policy]):
    """Compares texts without white space, quotes and a final full stop, as NFKC."""

    def judge(self, items: Iterable[tuple[Problem, str]]) -> Iterator[Judgement]:
        for problem, response in items:
            yield self._one(problem, response)

    def _one(self, problem: Problem, response: str) -> Judgement:
        reference = problem.reference
        if not isinstance(reference, Answer) or not reference.answer.strip():
            detail = f"the reference is {reference.kind!r} or empty, expected a text"
            return Judgement(Reason.UNPARSABLE_REFERENCE, detail=detail)
        solution = parse(response).solution
        found = extraction.find(solution, self.policy.forms)
        answer = found.answer if found else solution if self.policy.whole else ""
        if not answer.strip():
            return Judgement(Reason.NO_ANSWER, detail="no answer was found")
        by = f"exact:{found.form if found else 'whole'}"
        if self._plain(answer) == self._plain(reference.answer):
            return Judgement(Reason.CORRECT, answer, by)
        return Judgement(Reason.WRONG_ANSWER, answer, by, "the texts differ")

    def _plain(self, text: str) -> str:
        plain = " ".join(unicodedata.normalize("NFKC", text).split())
        for opening in ("\\text{", "\\mathrm{", "\\textbf{"):
            if plain.startswith(opening) and plain.endswith("}"):
                plain = plain[len(opening) : -1].strip()
        plain = plain.strip("\"'`$").rstrip(".").strip()
        return plain if self.policy.case else plain.casefold()

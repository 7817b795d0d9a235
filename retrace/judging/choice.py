r"""Judges multiple choice: the option a response names, compared by its position.

A letter counts where it is boxed, tagged or stated as the answer, with or without
brackets, a full stop or the option's text. The text of exactly one option counts too.
A letter that merely stands somewhere in the response never does: "a" is an article.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from retrace.judging import base, extraction
from retrace.judging.base import Judgement
from retrace.rows import Options, Problem, Reason
from retrace.sections import parse

LETTERS = "ABCDEFGHIJKLMNOP"


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["choice"] = "choice"
    forms: list[extraction.Form] = Field(
        default=["boxed", "answer_tag", "final_answer"],
        description="where an answer may stand, in order of preference",
    )
    option_text: bool = Field(
        default=True, description="the text of one option stands for its letter"
    )
    protocol: Literal["retrace", "as_published"] = Field(
        default="retrace",
        description="as_published: the last standing letter of the upper-cased"
        " response, as SkyThought's published GPQA scores were computed",
    )


class Judge(base.Judge[Policy]):
    def judge(self, items: Iterable[tuple[Problem, str]]) -> Iterator[Judgement]:
        for problem, response in items:
            yield self._one(problem, response)

    def _one(self, problem: Problem, response: str) -> Judgement:
        reference = problem.reference
        if not isinstance(reference, Options):
            detail = f"the reference is {reference.kind!r}, expected options"
            return Judgement(Reason.UNPARSABLE_REFERENCE, detail=detail)
        if reference.correct >= len(reference.options):
            detail = f"option {reference.correct} of {len(reference.options)}"
            return Judgement(Reason.UNPARSABLE_REFERENCE, detail=detail)
        count = len(reference.options)
        if self.policy.protocol == "as_published":
            found, by = last_letter(response, count), "choice:published"
            chosen = None if found is None else LETTERS.index(found)
            answer = found or ""
        else:
            answer, chosen, by = self._chosen(parse(response).solution, reference)
        if chosen is None:
            detail = f"no option is named in {answer[:80]!r}" if answer else ""
            detail = detail or "no answer was found"
            return Judgement(Reason.NO_ANSWER, answer, by, detail)
        if chosen == reference.correct:
            return Judgement(Reason.CORRECT, answer, by)
        detail = f"{LETTERS[chosen]} was chosen, {LETTERS[reference.correct]} is right"
        return Judgement(Reason.WRONG_ANSWER, answer, by, detail)

    def _chosen(self, solution: str, reference: Options) -> tuple[str, int | None, str]:
        """The answer's text, the position it names, and how it was found."""
        answer, by = "", ""
        for form in self.policy.forms:
            found = extraction.find(solution, [form])
            if found is None:
                continue
            answer, by = found.answer, f"choice:{form}"
            chosen = letter(answer, len(reference.options))
            if chosen is None and self.policy.option_text:
                chosen = option(answer, reference.options)
            elif option(_beside(answer), reference.options) not in (None, chosen):
                chosen = None  # one option's letter beside another's text
            if chosen is not None:
                return answer, chosen, by
            if form == "boxed":
                break  # a box that names no option is the answer all the same
        if not answer and len(solution) <= MAX_BARE:
            chosen = letter(solution, len(reference.options))
            return solution, chosen, "choice:bare"
        return answer, None, by


MAX_BARE = 200
"""A response no longer than this may be an option's letter and text, and no more."""

_WRAPPED = re.compile(
    r"\\(?:text|textbf|textrm|mathrm|mathbf|bf|rm|boxed|mathsf|textsf)\s*\{([^{}]*)\}"
)
_NAMED = re.compile(
    r"(?:(?:option|choice|answer)\s*:?\s*)?"
    r"(?:[(\[{]\s*([A-P])\s*[)\]}]|([A-P])(?=\s*[.:)。：、,;]|\s+[-–—]\s|\s*$))(?!\w)(.*)",
    re.IGNORECASE | re.DOTALL,
)
_HEDGE = re.compile(
    r"[\s.:)]*(?:(?:and|or|,|;|/|&)\s*(?:option\s*)?\(?[A-P]\)?(?:\W|$)"
    r"|(?-i:\([A-P]\)))",
    re.IGNORECASE,
)


def letter(answer: str, count: int) -> int | None:
    """The position that an answer's letter names, or None.

    A bare lower-case letter counts only if nothing follows it. Two different letters
    name no option: hedging is not an answer.
    """
    plain = _plain(answer)
    match = _NAMED.match(plain)
    if match is None:
        return None
    name, rest = match.group(1) or match.group(2), match.group(3).strip(" .)")
    if name.islower() and (rest and not match.group(1)):
        return None
    position = LETTERS.index(name.upper())
    if position >= count:
        return None
    if re.match(r"(?:and|or|,|/|&)\s*\(?[A-P]\b", rest.lstrip(":. "), re.IGNORECASE):
        return None
    return None if _HEDGE.match(match.group(3)) else position


def _beside(answer: str) -> str:
    """What stands after an answer's letter."""
    match = _NAMED.match(_plain(answer))
    return match.group(3).strip(" .:)-–—") if match else ""


def option(answer: str, options: Sequence[str]) -> int | None:
    """The position of the only option whose text is the answer's."""
    wanted = _folded(answer)
    hits = [i for i, text in enumerate(options) if _folded(text) == wanted != ""]
    return hits[0] if len(hits) == 1 else None


def last_letter(response: str, count: int) -> str | None:
    """The last standing letter of the upper-cased response: the published way."""
    allowed = LETTERS[:count]
    found = re.findall(rf"\b[{allowed}]\b", response.upper())
    return found[-1] if found else None


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).strip().strip("$*`\"' ")
    for _ in range(4):
        text = _WRAPPED.sub(r"\1", text)
    text = re.sub(r"\\[,;:! ]|\\q?quad|~|\\(?:left|right)", " ", text)
    return " ".join(text.replace("$", "").split())


def _folded(text: str) -> str:
    return _plain(text).rstrip(".").replace(" ", "").casefold()

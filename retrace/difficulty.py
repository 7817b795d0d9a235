"""How hard a problem is, from 1 to 10: graded by a model, or looked up where published.

The scale is the one that Sky-T1's labels use (competition levels, 1 the easiest); the
prompt is our own.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from retrace.prompts import Prompt
from retrace.rows import Label, Problem
from retrace.sampling import Answer

LOWEST, HIGHEST = 1.0, 10.0


class LabelsError(ValueError):
    """Published labels that cannot be read: says where and what was expected."""


GRADING = Prompt(
    system="You grade how hard mathematics problems are. You do not solve them.",
    template="""\
Grade the problem below on a scale from 1 to 10, where the levels mean:

1: a single step that every pupil of 12 to 14 knows; the first questions of an AMC 8.
2: two or three known steps put together; the middle of an AMC 8 or the start of an AMC 10.
3: a known idea that must first be found; the end of an AMC 8, the middle of an AMC 10 or 12.
4: several ideas at once, or careful case work; the end of an AMC 10 or 12, the start of an AIME.
5: an idea that most good students miss at first; the middle of an AIME.
6: long or technical even with the right idea; the end of an AIME, an easy olympiad problem.
7: a short proof that needs real invention; the easier problem of a day of a national olympiad.
8: a hard olympiad problem; the middle problem of a day of the IMO.
9: very few contestants solve it; the last problem of a day of the IMO.
10: harder than olympiads are, or at the edge of what is known.

Half levels such as 4.5 are allowed. Judge by the shortest path that a well prepared
student would find, not by the length of the text.

Problem:

{statement}

Say in one or two sentences what makes it easy or hard. Then end with the grade in
double square brackets, for example [[3]] or [[6.5]].""",  # noqa: E501 - one line a level
)

NUMBER = r"\s*(\d{1,3}(?:\.\d+)?)\s*"
MARKED = (re.compile(rf"\[\[{NUMBER}\]\]"), re.compile(rf"\[{NUMBER}\]"))


def parse_grade(text: str) -> float | None:
    """The last grade in double brackets, or else in single ones; None if there is none.

    The last, because a model that thinks aloud may quote the scale first.
    """
    for pattern in MARKED:
        found = pattern.findall(text)
        if found:
            return float(found[-1])
    return None


def graded(problem: Problem, answer: Answer) -> Label:
    """The label that a grading model's answer gives."""

    def label(reason: Any, difficulty: float | None = None, detail: str = "") -> Label:
        return Label(
            problem_id=problem.problem_id,
            difficulty=difficulty,
            reason=reason,
            detail=detail,
        )

    if answer.error:
        return label("failed", detail=answer.error)
    grade = parse_grade(answer.text)
    if grade is None:
        if answer.finish_reason == "length":
            return label("truncated", detail="the answer was cut before a grade")
        return label("unparsable", detail=f"no [[grade]] in: {answer.text[-200:]!r}")
    if not LOWEST <= grade <= HIGHEST:
        return label("out_of_range", detail=f"graded {grade:g}, expected 1 to 10")
    return label("graded", grade)


def published(
    problems: Sequence[Problem],
    rows: Iterable[Mapping[str, Any]],
    statement: str = "problem",
    difficulty: str = "gpt_difficulty_parsed",
) -> Iterator[Label]:
    """Labels that somebody published, joined on the exact text of the statement.

    Of a text that occurs twice the last label counts, as in the published recipe. A
    problem whose text is not there is `unmatched`; a label that is negative, absent or
    no number is one that its labeller could not read.

    Raises:
        LabelsError: a row lacks one of the two columns.
    """
    wanted = {problem.statement for problem in problems}
    found: dict[str, Any] = {}
    for number, row in enumerate(rows, start=1):
        for column in (statement, difficulty):
            if column not in row:
                raise LabelsError(
                    f"row {number} of the published labels has no column {column!r},"
                    f" only {', '.join(map(repr, row))}: name the columns of the"
                    " statement and of the difficulty with --columns"
                )
        if row[statement] in wanted:
            found[row[statement]] = row[difficulty]
    for problem in problems:
        if problem.statement not in found:
            yield Label(problem_id=problem.problem_id, reason="unmatched")
            continue
        yield _published_label(problem, found[problem.statement])


def count(labels: Iterable[Label]) -> dict[str, int]:
    """How many labels there are of each reason."""
    return dict(sorted(Counter(label.reason for label in labels).items()))


def _published_label(problem: Problem, value: Any) -> Label:
    identifier = problem.problem_id
    try:
        grade = float(value)
    except (TypeError, ValueError):
        grade = math.nan
    # A missing number is NaN in a data frame too.
    if math.isnan(grade) or grade < 0:
        return Label(
            problem_id=identifier,
            reason="unparsable",
            detail=f"the published label is {value}",
        )
    if not LOWEST <= grade <= HIGHEST:
        return Label(
            problem_id=identifier,
            reason="out_of_range",
            detail=f"the published label is {grade:g}, expected 1 to 10",
        )
    return Label(problem_id=identifier, difficulty=grade, reason="published")

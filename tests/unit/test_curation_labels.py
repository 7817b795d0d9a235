"""Grades join their problems; a problem without one stays as it is."""

from __future__ import annotations

from retrace.curation.labels import with_labels
from retrace.rows import Answer, Domain, Label, Problem


def test_grades_join_their_problems() -> None:
    easy, hard, other = (
        Problem.make("s", Domain.MATH, text, Answer(answer="1"), {"row": 1})
        for text in ("easy", "hard", "other")
    )
    labels = [
        Label(problem_id=hard.problem_id, difficulty=7.5, reason="graded"),
        Label(problem_id=other.problem_id, reason="unparsable"),
    ]
    found = list(with_labels([easy, hard, other], labels))
    assert [problem.meta for problem in found] == [
        {"row": 1},
        {"row": 1, "difficulty": 7.5},
        {"row": 1},
    ]
    assert [p.problem_id for p in found] == [p.problem_id for p in (easy, hard, other)]

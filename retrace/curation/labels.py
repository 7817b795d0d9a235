"""Grades of problems that a model gave, where no source says how hard they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from retrace.rows import Label, Problem


def with_labels(
    problems: Iterable[Problem], labels: Iterable[Label]
) -> Iterator[Problem]:
    """The problems with their grades in `meta.difficulty`, where they have one."""
    grades = {label.problem_id: label.difficulty for label in labels}
    for problem in problems:
        grade = grades.get(problem.problem_id)
        if grade is None:
            yield problem
        else:
            meta = {**problem.meta, "difficulty": grade}
            yield problem.model_copy(update={"meta": meta})

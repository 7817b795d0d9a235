"""Difficulty labels: every problem gets one, or a reason why not."""

from __future__ import annotations

import math

import pytest

from retrace.difficulty import (
    GRADING,
    LabelsError,
    count,
    graded,
    parse_grade,
    published,
)
from retrace.prompts import messages
from retrace.rows import Answer as Reference
from retrace.rows import Domain, Problem, Usage
from retrace.sampling import Answer


def problem(text: str) -> Problem:
    return Problem.make("set", Domain.MATH, text, Reference(answer="1"))


def answer(text: str, finish: str = "stop", error: str = "") -> Answer:
    return Answer("k", text, "", finish, Usage(), error)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("Easy enough. [[3]]", 3.0),
        ("[[ 4.5 ]]", 4.5),
        ("Levels go from [[1]] to [[10]]; this one is [[7]].", 7.0),
        ("It is a [6].", 6.0),
        ("The interval [0, 1] is closed, so [[2]]", 2.0),
        ("about 5", None),
        ("[[hard]]", None),
        ("", None),
    ],
)
def test_parse_grade(text: str, grade: float | None) -> None:
    assert parse_grade(text) == grade


@pytest.mark.parametrize(
    ("given", "reason", "difficulty"),
    [
        (answer("[[8.5]]"), "graded", 8.5),
        (answer("no idea"), "unparsable", None),
        (answer("[[0]]"), "out_of_range", None),
        (answer("[[11]]"), "out_of_range", None),
        (answer("thinking on", "length"), "truncated", None),
        (answer("[[4]] and more", "length"), "graded", 4.0),
        (answer("", "error", "status 500"), "failed", None),
    ],
)
def test_every_answer_gives_a_label_with_a_reason(
    given: Answer, reason: str, difficulty: float | None
) -> None:
    label = graded(problem("p"), given)
    assert (label.reason, label.difficulty) == (reason, difficulty)
    assert (label.detail == "") == (reason == "graded")


def test_published_labels_are_joined_on_the_exact_text_and_counted() -> None:
    problems = [problem(text) for text in "abcdefg"]
    rows = [
        {"problem": "a", "gpt_difficulty_parsed": 4},
        {"problem": "a", "gpt_difficulty_parsed": 6.5},
        {"problem": "b ", "gpt_difficulty_parsed": 2},
        {"problem": "c", "gpt_difficulty_parsed": -1.0},
        {"problem": "d", "gpt_difficulty_parsed": math.nan},
        {"problem": "e", "gpt_difficulty_parsed": 42},
        {"problem": "f", "gpt_difficulty_parsed": None},
        {"problem": "g", "gpt_difficulty_parsed": "hard"},
    ]
    labels = list(published(problems, rows))
    assert [label.problem_id for label in labels] == [p.problem_id for p in problems]
    assert labels[0].difficulty == 6.5
    assert count(labels) == {
        "out_of_range": 1,
        "published": 1,
        "unmatched": 1,
        "unparsable": 4,
    }
    with pytest.raises(LabelsError, match=r"row 1 .* no column 'level', only"):
        list(published(problems, rows, difficulty="level"))


def test_the_prompt_ends_with_the_form_that_is_parsed() -> None:
    (_, user) = messages(GRADING, "Find x.")
    assert "Find x." in user["content"]
    assert parse_grade(user["content"]) == 6.5

from __future__ import annotations

import pytest
from pydantic import ValidationError

from retrace.prompts import Prompt, Shot, messages


def test_braces_of_the_template_and_the_statement_stand_for_themselves() -> None:
    prompt = Prompt(template="Put it in \\boxed{}. {statement}")
    asked = messages(prompt, "Let S = {1, 2}. {statement} {0}")
    assert asked == [
        {
            "role": "user",
            "content": "Put it in \\boxed{}. Let S = {1, 2}. {statement} {0}",
        }
    ]


def test_shots_are_shown_only_when_asked_for() -> None:
    prompt = Prompt(
        system="Be brief.",
        template="Q: {statement}",
        shots=[Shot(statement="1+1", response="2")],
    )
    assert [message["role"] for message in messages(prompt, "2+2")] == [
        "system",
        "user",
    ]
    assert messages(prompt, "2+2", few_shot=True) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Q: 1+1"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Q: 2+2"},
    ]


def test_few_shot_without_shots_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no shots"):
        messages(Prompt(), "2+2", few_shot=True)


@pytest.mark.parametrize("template", ["no place", "{statement}{statement}"])
def test_a_template_holds_the_statement_once(template: str) -> None:
    with pytest.raises(ValidationError, match="expected exactly once"):
        Prompt(template=template)

"""From a problem's statement to the messages of a request."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from retrace.rows import Reference, Tests

STATEMENT = "{statement}"
STARTER_CODE = "{starter_code}"

Message = dict[str, str]


def _holds_the_statement(template: str) -> str:
    if template.count(STATEMENT) != 1:
        raise ValueError(
            f"the template holds {STATEMENT} {template.count(STATEMENT)} times,"
            " expected exactly once"
        )
    return template


Turn = Annotated[str, AfterValidator(_holds_the_statement)]
"""A user turn: {statement} stands for the problem, {starter_code} for the code that a
programming problem begins with, every other brace for itself."""


class ByStyle(BaseModel):
    """A user turn for each style of programming problem."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stdin: Turn = Field(description="for programs that read standard input")
    call: Turn = Field(description="for functions that are called")


Template = Annotated[
    Annotated[Turn, Tag("<text>")] | Annotated[ByStyle, Tag("<styles>")],
    Discriminator(lambda value: "<text>" if isinstance(value, str) else "<styles>"),
]


class Shot(BaseModel):
    """A worked example, shown before the problem when few-shot is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    statement: str = Field(description="the example's problem")
    response: str = Field(description="the answer as the model should write it")


class Prompt(BaseModel):
    """How a problem is put to a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str | None = Field(
        default=None, description="the system message; none is sent when absent"
    )
    template: Template = Field(
        default=STATEMENT, description="the user message, or one for each style"
    )
    shots: list[Shot] = Field(
        default_factory=list, description="worked examples for few-shot requests"
    )


def messages(
    prompt: Prompt,
    statement: str,
    few_shot: bool = False,
    reference: Reference | None = None,
) -> list[Message]:
    """The chat messages for one problem, the parts that requests share first.

    The reference says which style a problem has and gives its starter code; nothing
    else of it is shown.
    """
    if few_shot and not prompt.shots:
        raise ValueError("few-shot is asked for and the prompt has no shots")
    parts: list[Message] = []
    if prompt.system is not None:
        parts.append({"role": "system", "content": prompt.system})
    for shot in prompt.shots if few_shot else []:
        shown = fill(prompt.template, shot.statement, reference)
        parts.append({"role": "user", "content": shown})
        parts.append({"role": "assistant", "content": shot.response})
    asked = fill(prompt.template, statement, reference)
    parts.append({"role": "user", "content": asked})
    return parts


def fill(template: Template, statement: str, reference: Reference | None = None) -> str:
    """The user turn of a problem."""
    tests = reference if isinstance(reference, Tests) else None
    if isinstance(template, ByStyle):
        reads = tests is not None and tests.style == "stdin"
        template = template.stdin if reads else template.call
    # Not str.format: prompts hold \boxed{}, and statements hold braces of their own.
    # The statement comes last, so nothing inside it is taken for a place to fill.
    before, _, after = template.partition(STATEMENT)
    starter = tests.starter_code if tests is not None else ""
    before, after = (part.replace(STARTER_CODE, starter) for part in (before, after))
    return f"{before}{statement}{after}"

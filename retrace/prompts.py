"""From a problem's statement to the messages of a request."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

STATEMENT = "{statement}"

Message = dict[str, str]


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
    template: str = Field(
        default=STATEMENT,
        description="the user message; {statement} stands for the problem, every"
        " other brace for itself",
    )
    shots: list[Shot] = Field(
        default_factory=list, description="worked examples for few-shot requests"
    )

    @field_validator("template")
    @classmethod
    def _holds_the_statement(cls, template: str) -> str:
        if template.count(STATEMENT) != 1:
            raise ValueError(
                f"the template holds {STATEMENT} {template.count(STATEMENT)} times,"
                " expected exactly once"
            )
        return template


def messages(prompt: Prompt, statement: str, few_shot: bool = False) -> list[Message]:
    """The chat messages for one problem, the parts that requests share first."""
    if few_shot and not prompt.shots:
        raise ValueError("few-shot is asked for and the prompt has no shots")
    parts: list[Message] = []
    if prompt.system is not None:
        parts.append({"role": "system", "content": prompt.system})
    for shot in prompt.shots if few_shot else []:
        parts.append({"role": "user", "content": _fill(prompt, shot.statement)})
        parts.append({"role": "assistant", "content": shot.response})
    parts.append({"role": "user", "content": _fill(prompt, statement)})
    return parts


def _fill(prompt: Prompt, statement: str) -> str:
    # Not str.format: prompts hold \boxed{}, and statements hold braces of their own.
    return prompt.template.replace(STATEMENT, statement)

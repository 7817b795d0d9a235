"""From a row's columns to the reference that its problem is judged by."""

from __future__ import annotations

import math
import random
import re
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retrace.problems import contest_tests
from retrace.problems.base import writable
from retrace.problems.contest_tests import UnusableRowError
from retrace.problems.filters import Row, value_at
from retrace.problems.many_outputs import says_many_outputs
from retrace.rows import Answer, Options, Tests
from retrace.sections import boxes

LETTERS = "ABCDEFGHIJKLMNOP"


class _Reference(BaseModel, ABC):
    model_config = ConfigDict(extra="forbid", frozen=True)

    makes: ClassVar[str]
    """The kind of the references, as rows name it."""

    @abstractmethod
    def columns(self) -> set[str]: ...

    @abstractmethod
    def of(self, row: Row) -> Answer | Options | Tests:
        """The reference of a row.

        Raises:
            UnusableRowError: the row has none that could be used; says why.
        """

    def shown(self, reference: Answer | Options | Tests) -> str:
        """What follows the statement: the options, where there are any."""
        return ""

    def read_beside(
        self, statement: str, reference: Answer | Options | Tests
    ) -> Answer | Options | Tests:
        """The reference, with what the statement says about it."""
        return reference


class AnswerColumn(_Reference):
    """A text, a number or an expression."""

    makes: ClassVar[str] = "answer"
    kind: Literal["answer"]
    column: str
    take: Literal["whole", "last_box", "after_hashes", "first"] = Field(
        default="whole",
        description="the whole value, the last \\boxed{} of a solution, what follows"
        " the last ####, or the first item of a list",
    )

    def columns(self) -> set[str]:
        return {self.column}

    def of(self, row: Row) -> Answer:
        value = value_at(row, self.column)
        if self.take == "first" and isinstance(value, list):
            value = value[0] if value else None
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            raise UnusableRowError("no_reference")
        if isinstance(value, list | dict):
            raise UnusableRowError("reference_is_no_text")
        text = _number(value) if isinstance(value, float) else str(value)
        if self.take == "last_box":
            found = boxes(text)
            text = found[-1].content if found else ""
        elif self.take == "after_hashes":
            text = text.rpartition("####")[2]
        if not text.strip():
            raise UnusableRowError("no_reference")
        return Answer(answer=tidy(text).strip())


class OptionColumns(_Reference):
    """Options, one of which is right.

    The options are shuffled by a seed and the row's own id, so every build and every
    shard gives the same letters.
    """

    makes: ClassVar[str] = "options"
    kind: Literal["options"]
    column: str | None = Field(
        default=None, description="column with the list of options"
    )
    option_columns: list[str] = Field(
        default_factory=list, description="columns with an option each, instead"
    )
    correct: int | str = Field(
        description="position of the right option, or the column that holds its"
        " position, its letter or its label"
    )
    labels: str | None = Field(
        default=None, description="column with the labels that `correct` refers to"
    )
    shuffle: int | None = Field(
        default=None, description="seed of the order of options; none keeps the order"
    )
    id_column: str | None = Field(
        default=None, description="column that the order of options depends on"
    )
    layout: Literal["gpqa", "choices"] = Field(
        description="`gpqa`: one line `A) .., B) ..` with a blank before it; `choices`:"
        " `Answer Choices: (A) .. (B) ..` on a line of its own"
    )

    @model_validator(mode="after")
    def _options_stand_in_one_place(self) -> OptionColumns:
        if (self.column is None) == (not self.option_columns):
            raise ValueError("give either `column` or `option_columns`")
        return self

    def columns(self) -> set[str]:
        named = {self.column, self.labels, self.id_column, *self.option_columns}
        if isinstance(self.correct, str):
            named.add(self.correct)
        return {name for name in named if name is not None}

    def of(self, row: Row) -> Options:
        values = (
            value_at(row, self.column)
            if self.column is not None
            else [value_at(row, name) for name in self.option_columns]
        )
        if not isinstance(values, list) or any(value is None for value in values):
            raise UnusableRowError("no_options")
        texts = [tidy(str(value)).strip() for value in values]
        if not 2 <= len(texts) <= len(LETTERS):
            raise UnusableRowError("number_of_options")
        correct = self._position(row, len(texts))
        order = list(range(len(texts)))
        if self.shuffle is not None:
            of_row = value_at(row, self.id_column) if self.id_column else texts
            random.Random(f"{self.shuffle}:{of_row}").shuffle(order)
        return Options(
            options=[texts[place] for place in order], correct=order.index(correct)
        )

    def shown(self, reference: Answer | Options | Tests) -> str:
        assert isinstance(reference, Options)
        pairs = list(zip(LETTERS, reference.options, strict=False))
        if self.layout == "gpqa":
            return "\n " + ", ".join(f"{letter}) {text}" for letter, text in pairs)
        told = " ".join(f"({letter}) {text}" for letter, text in pairs)
        return f"\nAnswer Choices: {told}"

    def _position(self, row: Row, count: int) -> int:
        value: Any = self.correct
        if isinstance(value, str):
            value = value_at(row, value)
        if self.labels is not None:
            labels = value_at(row, self.labels)
            value = labels.index(value) if value in (labels or []) else None
        elif isinstance(value, str):
            letter = value.strip().upper()
            value = LETTERS.find(letter) if len(letter) == 1 else None
        if not isinstance(value, int) or not 0 <= value < count:
            raise UnusableRowError("no_right_option")
        return value


class AppsTests(_Reference):
    """Tests as APPS and TACO write them: JSON text inside a column."""

    makes: ClassVar[str] = "tests"
    kind: Literal["apps_tests"]
    column: str = "input_output"
    starter_code: str = "starter_code"
    many_outputs: bool = Field(
        default=True,
        description="look in the statement whether several outputs are right; another"
        " output than the test's is then unchecked, not wrong",
    )

    def columns(self) -> set[str]:
        return {self.column, self.starter_code}

    def of(self, row: Row) -> Tests:
        starter = value_at(row, self.starter_code)
        return contest_tests.apps(
            value_at(row, self.column), tidy(starter) if starter else ""
        )

    def read_beside(
        self, statement: str, reference: Answer | Options | Tests
    ) -> Answer | Options | Tests:
        if self.many_outputs and says_many_outputs(statement):
            return reference.model_copy(update={"many_outputs": True})
        return reference


class LiveCodeBenchTests(_Reference):
    """Tests as LiveCodeBench writes them: JSON, or a packed pickle of JSON."""

    makes: ClassVar[str] = "tests"
    kind: Literal["livecodebench_tests"]
    which: Literal["private", "public", "both"] = Field(
        default="both",
        description="LiveCodeBench itself runs both, Sky-T1's numbers the private ones",
    )

    def columns(self) -> set[str]:
        names = {"metadata", "starter_code"}
        if self.which != "private":
            names.add("public_test_cases")
        if self.which != "public":
            names.add("private_test_cases")
        return names

    def of(self, row: Row) -> Tests:
        texts = []
        if self.which != "private":
            texts.append(value_at(row, "public_test_cases"))
        if self.which != "public":
            texts.append(value_at(row, "private_test_cases"))
        return contest_tests.livecodebench(
            texts, value_at(row, "metadata"), value_at(row, "starter_code") or ""
        )


class NoReference(_Reference):
    """Nothing to judge by: for rows that bring a trace of their own."""

    makes: ClassVar[str] = "answer"
    kind: Literal["none"]

    def columns(self) -> set[str]:
        return set()

    def of(self, row: Row) -> Answer:
        return Answer(answer="")


Reference = Annotated[
    AnswerColumn | OptionColumns | AppsTests | LiveCodeBenchTests | NoReference,
    Field(discriminator="kind"),
]


def tidy(text: str) -> str:
    """A text with one form of newlines, which every file can hold."""
    return writable(re.sub(r"\r\n?", "\n", text))


def _number(value: float) -> str:
    """27.0 is written 27, as the answer's own site has it."""
    return str(int(value)) if value.is_integer() else repr(value)

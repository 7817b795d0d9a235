"""The row formats of the pipeline: problem, trace, verdict, rewrite, training row.

Every file between two rules is JSON lines of exactly one of these models: UTF-8, keys
in the order written here, no timestamps and no paths, so the same inputs give the same
bytes. Ids are content hashes, and every row carries the ids of the rows it came from.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Row(BaseModel):
    """A line of a file: unknown fields are errors, and a row never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Domain(StrEnum):
    MATH = "math"
    CODE = "code"
    SCIENCE = "science"
    PUZZLE = "puzzle"


# --- Problems -------------------------------------------------------------------------


class Answer(Row):
    """The reference of a problem whose answer is a text, a number or an expression."""

    kind: Literal["answer"] = "answer"
    answer: str


class Options(Row):
    """The reference of a multiple-choice problem: 2 to 16 options, one is right."""

    kind: Literal["options"] = "options"
    options: list[str] = Field(min_length=2, max_length=16)
    correct: int = Field(ge=0, description="position of the right option")


class TestCase(Row):
    """One test of a program.

    `stdin`: standard input and the expected output. `call`: the arguments as a JSON
    list and the expected value as JSON. `assert`: an assert statement, no output.
    Values stay JSON text, so integers of any length and every key survive.
    """

    __test__: ClassVar[bool] = False  # not a test of pytest's

    input: str
    output: str = ""


class Tests(Row):
    """The reference of a programming problem."""

    __test__: ClassVar[bool] = False

    kind: Literal["tests"] = "tests"
    style: Literal["stdin", "call", "assert"]
    tests: list[TestCase]
    fn_name: str | None = None
    starter_code: str = ""
    many_outputs: bool = Field(
        default=False, description="several outputs are right: needs a special judge"
    )


class Puzzle(Row):
    """The reference of a generated puzzle that its own generator can score."""

    kind: Literal["puzzle"] = "puzzle"
    family: str = Field(description="name of the reasoning-gym data set")
    entry: str = Field(description="the generator's entry as JSON, for its scorer")


Reference = Annotated[Answer | Options | Tests | Puzzle, Field(discriminator="kind")]


class Problem(Row):
    problem_id: str
    set: str
    domain: Domain
    statement: str
    reference: Reference
    meta: dict[str, Any] = Field(
        default_factory=dict,
        description="where it comes from: source, revision, row, difficulty, url",
    )

    @classmethod
    def make(
        cls,
        set_name: str,
        domain: Domain,
        statement: str,
        reference: Answer | Options | Tests | Puzzle,
        meta: dict[str, Any] | None = None,
    ) -> Problem:
        """Build a problem with its id: the hash of (set, statement, reference)."""
        return cls(
            problem_id=content_id(
                [set_name, statement, reference.model_dump(mode="json")]
            ),
            set=set_name,
            domain=domain,
            statement=statement,
            reference=reference,
            meta=dict(sorted((meta or {}).items())),
        )


class Label(Row):
    """The difficulty of a problem from 1 to 10, or why there is none."""

    problem_id: str
    difficulty: float | None = Field(default=None, ge=1, le=10)
    reason: Literal[
        "graded",
        "published",
        "unparsable",
        "out_of_range",
        "truncated",
        "failed",
        "unmatched",
    ]
    detail: str = ""


# --- Traces and verdicts --------------------------------------------------------------


class Usage(Row):
    """Tokens as the server counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Trace(Row):
    """One sample of a model for one problem.

    A request that failed for good is a trace with empty text, `finish_reason` "error"
    and the message in `error`: an error message never stands in `text`.
    """

    trace_id: str
    problem_id: str
    model: str
    sample: int = Field(ge=0)
    text: str
    reasoning: str = Field(default="", description="thought that the server kept apart")
    finish_reason: Literal["stop", "length", "error"]
    usage: Usage
    error: str = ""


class Reason(StrEnum):
    """Why a verdict is what it is. Only `correct` counts as right."""

    CORRECT = "correct"
    WRONG_ANSWER = "wrong_answer"
    NO_ANSWER = "no_answer"
    UNPARSABLE_REFERENCE = "unparsable_reference"
    TRUNCATED = "truncated"
    SYNTAX_ERROR = "syntax_error"
    RUNTIME_ERROR = "runtime_error"
    TIMEOUT = "timeout"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    FORBIDDEN = "forbidden"
    JUDGE_ERROR = "judge_error"
    UNCHECKED = "unchecked"


class Verdict(Row):
    trace_id: str
    problem_id: str
    sample: int
    ok: bool
    reason: Reason
    answer: str = Field(default="", description="what the judge took for the answer")
    by: str = Field(default="", description="the layer that decided")
    detail: str = Field(default="", description="one line that explains the reason")

    def model_post_init(self, _context: Any) -> None:
        if self.ok != (self.reason is Reason.CORRECT):
            raise ValueError(f"ok={self.ok} contradicts reason {self.reason.value!r}")


# --- What a student is trained on -----------------------------------------------------


class Rewrite(Row):
    """A right trace as a thought and a solution.

    `by` says who divided it: the rewriting model, or the rule that changes no word
    (used where the model's rewrite failed a check, which `rejected` then names).
    `faithful` is the share of the trace's words that the rewrite kept, in order, and
    `invented` the share of the thought's words that the trace does not have.
    """

    trace_id: str
    problem_id: str
    sample: int
    thought: str
    solution: str
    by: Literal["model", "rule"]
    faithful: float = Field(ge=0.0, le=1.0)
    invented: float = Field(default=0.0, ge=0.0, le=1.0)
    rejected: str = ""
    verdict: Verdict


class Turn(Row):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    from_: Literal["user", "assistant"] = Field(alias="from")
    value: str


class TrainingRow(Row):
    """ShareGPT, as LLaMA-Factory reads it, with the ids that lead to the source."""

    id: str
    system: str
    conversations: list[Turn]
    problem_id: str
    trace_id: str
    set: str
    domain: Domain
    pass_rate: float | None = Field(
        default=None, description="share of the teacher's samples that are right"
    )


class RejectedRow(Row):
    """A trace that did not reach the training set, with the stage that dropped it."""

    trace_id: str
    problem_id: str
    set: str
    stage: str
    reason: str
    detail: str = ""


# --- Ids, shards and files ------------------------------------------------------------


def content_id(value: Any) -> str:
    """The first 128 bits of the sha256 of a JSON value in canonical form, as hex."""
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    ).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]


def shard_of(problem_id: str, shards: int) -> int:
    """The shard of a problem: a function of its id alone, so others never move."""
    return int(problem_id[:16], 16) % shards


class RowError(ValueError):
    """A line that is not the row it should be: says file, line and field."""


R = TypeVar("R", bound=BaseModel)


def read_rows(path: Path, model: type[R]) -> Iterator[R]:
    """Read a JSON lines file, a row at a time.

    Raises:
        RowError: naming file, line and field of the first row that does not fit.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield model.model_validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                field = ".".join(str(part) for part in first["loc"]) or "the line"
                raise RowError(
                    f"{path}:{number}: {field}: {first['msg']}"
                    f" (expected a {model.__name__} row)"
                ) from error


def write_rows(path: Path, rows: Iterable[BaseModel]) -> int:
    """Write rows as JSON lines and return their number.

    The file appears whole or not at all: rows go to a temporary file beside it, which
    takes its place only once everything is on the disk.
    """
    return write_lines(path, (row.model_dump_json() for row in rows))


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write text lines whole or not at all, like `write_rows`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    count = 0
    try:
        with open(handle, "wb") as file:
            for line in lines:
                file.write(line.encode("utf-8") + b"\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return count


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

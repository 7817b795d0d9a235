"""Requests in, answers out: the one door through which every model is asked.

`ask` looks every request up in the journals, starts the engine only if something is
missing, asks for that with bounded concurrency, and yields the answers in the order of
the requests, read back from the journals.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retrace.budget import Budget, BudgetError
from retrace.dispatch import CircuitOpenError, Dispatcher, Effort
from retrace.engines.base import Engine, EngineError, Job
from retrace.journal import Entry, Journal, JournalError
from retrace.locking import LockedError
from retrace.prompts import Message
from retrace.rows import Problem, Trace, Usage, content_id

log = logging.getLogger(__name__)


class Sampling(BaseModel):
    """How many answers are drawn for a problem, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: int = Field(default=1, gt=0, description="samples per problem")
    temperature: float = Field(default=0.0, ge=0, description="0 is greedy")
    top_p: float = Field(default=1.0, gt=0, le=1, description="nucleus")
    max_tokens: int = Field(gt=0, description="completion tokens of one answer")
    seed: int = Field(
        default=0, ge=0, description="sample i of a problem is drawn with seed + i"
    )
    stop: list[str] = Field(
        default_factory=list, description="texts that end an answer"
    )
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="further fields of the request body, such as top_k",
    )

    @model_validator(mode="after")
    def _samples_differ(self) -> Sampling:
        if self.n > 1 and self.temperature == 0:
            raise ValueError(
                f"n is {self.n} at temperature 0, which draws the same answer {self.n}"
                " times: set n to 1 or the temperature above 0"
            )
        return self


@dataclass(frozen=True, slots=True)
class Request:
    """One answer that is wanted: what is asked, and which sample of it this is."""

    messages: Sequence[Message]
    sampling: Sampling
    sample: int = 0

    def body(self) -> dict[str, Any]:
        """The body of the chat completion, without the model's name."""
        sampling = self.sampling
        body: dict[str, Any] = {
            "messages": list(self.messages),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed + self.sample,
        }
        if sampling.stop:
            body["stop"] = sampling.stop
        return body | sampling.extra

    def key(self, identity: dict[str, Any]) -> str:
        """The journal key: what is asked, of whom, and which sample of it."""
        return content_id([self.body(), self.sample, identity])


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request. A failed one has an `error` and no text."""

    key: str
    text: str
    reasoning: str
    finish_reason: Literal["stop", "length", "error"]
    usage: Usage
    error: str = ""
    contract: str = ""
    """The contract it was given under, as JSON; empty for a failed one."""


# What `ask` and its journal raise when the job cannot go on; each message says all.
FAILURES = (
    *(EngineError, CircuitOpenError, BudgetError, JournalError, LockedError),
    OSError,
)


def ask(
    requests: Sequence[Request],
    engine: Engine,
    journal: Journal,
    effort: Effort | None = None,
    *,
    budget: Budget | None = None,
    about: dict[str, Any] | None = None,
) -> Iterator[Answer]:
    """Answer every request, in order; what a journal holds is not asked again.

    `about` goes into the journal's note of this run, for `retrace status`.

    Everything is answered before this returns; the iterator only reads.

    Raises:
        Stopped: a signal or the time limit; every finished answer is kept.
        CircuitOpenError: too many requests failed; every finished answer is kept.
        BudgetError: the next request could pass the budget.
        EngineError: the engine did not start, or died twice.
    """
    identity = engine.identity()
    keys = [request.key(identity) for request in requests]
    missing = {
        key: request
        for key, request in zip(keys, requests, strict=True)
        if key not in journal
    }
    failed: dict[str, str] = {}
    if missing:
        known = len(set(keys)) - len(missing)
        jobs = [Job(key, request.body()) for key, request in missing.items()]
        dispatcher = Dispatcher(engine, journal, effort or Effort(), budget)
        failed = _carry_out(dispatcher, jobs, known, about or {})
    return _answers(keys, failed, journal)


def _carry_out(
    dispatcher: Dispatcher, jobs: list[Job], known: int, about: dict[str, Any]
) -> dict[str, str]:
    dispatcher.tell_start(len(jobs), known, about)
    outcome = "failed"
    try:
        dispatcher.run(jobs)
        outcome = "done"
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        dispatcher.tell_end(outcome)
    return dispatcher.failed


def _answers(
    keys: Sequence[str], failed: dict[str, str], journal: Journal
) -> Iterator[Answer]:
    for key in keys:
        entry = journal.get(key)
        if entry is None:
            yield Answer(key, "", "", "error", Usage(), failed[key])
        else:
            yield read_answer(entry)


def read_answer(entry: Entry) -> Answer:
    """The answer of a journal line: thought and text apart, no half characters."""
    served = entry.answer
    usage = served.get("usage") or {}
    counted = Usage(
        prompt_tokens=usage.get("prompt_tokens", 0),
        completion_tokens=usage.get("completion_tokens", 0),
    )
    contract = canonical(entry.contract)
    if "error" in served:
        return Answer(entry.key, "", "", "error", counted, served["error"], contract)
    text, reasoning = served["text"], served.get("reasoning") or ""
    if not reasoning:
        reasoning, text = split_reasoning(text)
    return Answer(
        entry.key,
        text,
        reasoning,
        served["finish_reason"],
        counted,
        contract=contract,
    )


def trace_of(problem: Problem, model: str, sample: int, answer: Answer) -> Trace:
    """The row of an answer; its id is the hash of the problem and the request."""
    return Trace(
        trace_id=content_id([problem.problem_id, answer.key]),
        problem_id=problem.problem_id,
        model=model,
        sample=sample,
        text=answer.text,
        reasoning=answer.reasoning,
        finish_reason=answer.finish_reason,
        usage=answer.usage,
        error=answer.error,
    )


def describe_contracts(
    model: str, contracts: Mapping[str, int], prompt: str = ""
) -> list[str]:
    """What answered, as lines of JSON. Answers under two contracts are `mixed`.

    `prompt` is the hash of the prompt. `contracts` counts the `contract` texts of
    answers; failed requests have none.
    """
    told: dict[str, Any] = {
        "model": model,
        **({"prompt": prompt} if prompt else {}),
        "mixed": len([text for text in contracts if text]) > 1,
        "failed": contracts.get("", 0),
        "contracts": [
            {"answers": contracts[text], **json.loads(text)}
            for text in sorted(contracts)
            if text
        ],
    }
    return json.dumps(told, indent=2, ensure_ascii=False).splitlines()


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


THINK = re.compile(r"\s*<think>(.*?)(?:</think>(.*)|\Z)", re.DOTALL)


def split_reasoning(text: str) -> tuple[str, str]:
    """Thought and answer of a text that marks its thought with <think>.

    The opening mark may be missing, because some chat templates write it themselves. A
    thought that never closes is all thought, and the answer is empty. A text without
    the marks is all answer.
    """
    found = THINK.fullmatch(text)
    if found:
        return found.group(1).strip(), (found.group(2) or "").strip()
    before, close, after = text.partition("</think>")
    if close and "<think>" not in before:
        return before.strip(), after.strip()
    return "", text

"""Asks again what was answered, and says how much of it came out the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from retrace.rows import Trace
from retrace.sampling import Answer


@dataclass(frozen=True)
class Parting:
    """Where an answer leaves the trace that it should repeat."""

    trace_id: str
    problem_id: str
    sample: int
    at: int
    """Characters that both texts share at the start."""
    length: int
    before: str
    was: str
    now: str


@dataclass(frozen=True)
class Replay:
    """How many of the replayed rows came out the same."""

    rows: int
    same: int
    failed: int
    partings: list[Parting]
    changed_contract: dict[str, list[Any]]
    """Contract fields that differ: what the traces were made with, and what is now."""

    @property
    def rate(self) -> float:
        answered = self.rows - self.failed
        return self.same / answered if answered else 0.0

    def without_texts(self) -> Replay:
        """Where texts part, and no word of them."""
        partings = [
            dataclasses.replace(one, before=HIDDEN, was=HIDDEN, now=HIDDEN)
            for one in self.partings
        ]
        return dataclasses.replace(self, partings=partings)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "rate": self.rate}


CONTEXT = 30
HIDDEN = "(confidential)"


def compare(
    traces: Sequence[Trace],
    answers: Iterable[Answer],
    contracts: Sequence[Mapping[str, Any]],
    contract: Mapping[str, Any],
) -> Replay:
    """Compare traces with new answers to the same requests, in the same order.

    `contracts` are those of the traces; `contract` is the engine's now.
    """
    partings = []
    same = failed = 0
    for trace, answer in zip(traces, answers, strict=True):
        if answer.error:
            failed += 1
        elif (trace.reasoning, trace.text) == (answer.reasoning, answer.text):
            same += 1
        else:
            partings.append(_parting(trace, answer))
    return Replay(len(traces), same, failed, partings, _changes(contracts, contract))


def _parting(trace: Trace, answer: Answer) -> Parting:
    was, now = trace.reasoning + trace.text, answer.reasoning + answer.text
    shared = zip(was, now, strict=False)
    at = next((i for i, (a, b) in enumerate(shared) if a != b), min(len(was), len(now)))
    return Parting(
        trace.trace_id,
        trace.problem_id,
        trace.sample,
        at,
        len(was),
        was[max(0, at - CONTEXT) : at],
        was[at : at + CONTEXT],
        now[at : at + CONTEXT],
    )


def _changes(
    contracts: Sequence[Mapping[str, Any]], contract: Mapping[str, Any]
) -> dict[str, list[Any]]:
    changed = {}
    for name in sorted({*contract, *(key for old in contracts for key in old)}):
        values = [old.get(name) for old in contracts]
        if name != "answers" and any(v != contract.get(name) for v in values):
            changed[name] = [*values, contract.get(name)]
    return changed

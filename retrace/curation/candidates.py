"""Candidates for a training set: traces with problem, verdict and sections."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from retrace import rewriting
from retrace.curation.settings import Settings
from retrace.rows import Problem, Reason, Rewrite, Trace, Verdict
from retrace.sections import has_marker

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a candidate is dropped."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trace on its way into the training set.

    verdict: of the trace as the teacher wrote it; rewritten: of its two sections, where
    they were judged. pass_rate: right samples among those of the problem that were
    judged. tokens: of the teacher's completion, as the server counted them.
    """

    problem: Problem
    trace_id: str
    sample: int
    thought: str
    solution: str
    by: str
    verdict: Verdict
    rewritten: Verdict | None
    pass_rate: float
    tokens: int

    @property
    def set(self) -> str:
        return self.problem.set

    @property
    def assistant(self) -> str:
        return rewriting.assistant_turn(self.thought, self.solution)

    @property
    def ok(self) -> bool:
        return (self.rewritten or self.verdict).ok


def join(
    problems: Mapping[str, Problem],
    traces: Iterable[Trace],
    verdicts: Mapping[str, Verdict],
    rewrites: Mapping[str, Rewrite],
    settings: Settings,
) -> list[Candidate]:
    """Every trace as a candidate, by set, problem and sample.

    Raises:
        KeyError: a trace has no problem or no verdict, or a right trace no rewrite
            although the settings use rewrites.
    """
    rates = pass_rates(verdicts.values())
    found = []
    for trace in traces:
        problem = _get(problems, trace.problem_id, trace, "problem")
        verdict = _get(verdicts, trace.trace_id, trace, "verdict")
        rewrite = rewrites.get(trace.trace_id) if settings.rewrite else None
        if settings.rewrite and rewrite is None and verdict.ok:
            _get(rewrites, trace.trace_id, trace, "rewrite")
        division = _division(problem, trace, verdict, rewrite, settings)
        found.append(
            Candidate(
                problem=problem,
                trace_id=trace.trace_id,
                sample=trace.sample,
                thought=division.thought,
                solution=division.solution,
                by=rewrite.by if rewrite else "rule",
                verdict=verdict,
                rewritten=rewrite.verdict if rewrite else None,
                pass_rate=rates.get(trace.problem_id, 0.0),
                tokens=trace.usage.completion_tokens,
            )
        )
    found.sort(key=lambda one: (one.set, one.problem.problem_id, one.sample))
    return found


def pass_rates(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """Right samples over judged ones of each problem; a failed request is neither."""
    right: dict[str, int] = {}
    judged: dict[str, int] = {}
    for verdict in verdicts:
        if verdict.reason is Reason.UNCHECKED:
            continue
        judged[verdict.problem_id] = judged.get(verdict.problem_id, 0) + 1
        right[verdict.problem_id] = right.get(verdict.problem_id, 0) + verdict.ok
    return {key: round(right[key] / judged[key], 6) for key in judged}


def unverified(
    candidates: Iterable[Candidate], unchecked: Collection[str] = ()
) -> Iterator[tuple[str, Fault]]:
    """Candidates that are not right, as teacher's trace or as rewrite.

    Of the sets in `unchecked`, those that nothing could check stay.
    """
    for one in candidates:
        if not one.ok and not _taken_unchecked(one.set, one.verdict, unchecked):
            verdict = one.rewritten or one.verdict
            prefix = "rewrite_" if one.rewritten and one.verdict.ok else ""
            yield one.trace_id, Fault(prefix + verdict.reason.value, verdict.detail)


def malformed(
    candidates: Iterable[Candidate], settings: Settings
) -> Iterator[tuple[str, Fault]]:
    """Candidates without the two sections, or with text that is none of them."""
    for one in candidates:
        if not one.solution:
            yield one.trace_id, Fault("no_solution", one.verdict.detail)
        elif not one.thought and not settings.selection.empty_thought:
            yield one.trace_id, Fault("no_thought", "the whole text is the solution")
        elif has_marker(one.thought) or has_marker(one.solution):
            yield one.trace_id, Fault("markers", "a marker stands inside a section")


def _division(
    problem: Problem,
    trace: Trace,
    verdict: Verdict,
    rewrite: Rewrite | None,
    settings: Settings,
) -> rewriting.Division:
    """The sections; empty for a trace that cannot be used, so its text is let go."""
    if rewrite is not None:
        return rewriting.Division(rewrite.thought, rewrite.solution)
    whole = trace.finish_reason == "stop"
    trusted = _taken_unchecked(problem.set, verdict, settings.unchecked)
    if not verdict.ok and not (whole and (trusted or not settings.verify)):
        return rewriting.Division("", "")
    return rewriting.divide(problem, trace)


def _taken_unchecked(set_name: str, verdict: Verdict, sets: Collection[str]) -> bool:
    return verdict.reason is Reason.UNCHECKED and set_name in sets


def _get(rows: Mapping[str, R], key: str, trace: Trace, kind: str) -> R:
    try:
        return rows[key]
    except KeyError:
        raise KeyError(
            f"trace {trace.trace_id} (sample {trace.sample} of problem"
            f" {trace.problem_id}) has no {kind}: give the files of the same shards"
        ) from None

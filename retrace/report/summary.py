"""Counts over all rows, in one pass that keeps no text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from retrace.report.inputs import Inputs
from retrace.rows import (
    Problem,
    RejectedRow,
    Rewrite,
    Trace,
    TrainingRow,
    Verdict,
    read_rows,
)

R = TypeVar("R", bound=BaseModel)
NOT_JUDGED = {"unchecked", "judge_error", "unparsable_reference"}


@dataclass(slots=True)
class TraceFacts:
    """A trace without its text; `size` is the length of what was left out."""

    problem_id: str
    set: str
    model: str
    sample: int
    tokens: int
    finish: str
    size: int
    reason: str = "unchecked"
    rewritten: str = ""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a trace in a dataset: a training row, or the stage it fell at."""

    dataset: str
    row: str = ""
    stage: str = ""
    reason: str = ""
    detail: str = ""


@dataclass
class Summary:
    sets: dict[str, str] = field(default_factory=dict)
    problem_counts: Counter[str] = field(default_factory=Counter)
    traces: dict[str, TraceFacts] = field(default_factory=dict)
    fates: dict[str, list[Fate]] = field(default_factory=lambda: defaultdict(list))

    def groups(self) -> list[tuple[str, str]]:
        """Every model and set that there are traces of, in order."""
        return sorted({(trace.model, trace.set) for trace in self.traces.values()})


@dataclass(frozen=True)
class FunnelRow:
    """How many are left after each stage, for a set of a dataset."""

    dataset: str
    set: str
    problems: int
    traces: int
    correct: int
    rewritten: int
    rows: int
    wanted: int
    rejected: dict[str, int]


def summarise(inputs: Inputs) -> Summary:
    """Read all rows once.

    Raises:
        RowError: naming file, line and field of a row that does not fit.
    """
    summary = Summary()
    for problem in rows(inputs.problems, Problem):
        summary.sets[problem.problem_id] = problem.set
        summary.problem_counts[problem.set] += 1
    for trace in rows(inputs.traces, Trace):
        summary.traces[trace.trace_id] = TraceFacts(
            problem_id=trace.problem_id,
            set=summary.sets.get(trace.problem_id, "?"),
            model=trace.model,
            sample=trace.sample,
            tokens=trace.usage.completion_tokens,
            finish=trace.finish_reason,
            size=len(trace.text) + len(trace.reasoning),
        )
    for verdict in rows(inputs.verdicts, Verdict):
        if verdict.trace_id in summary.traces:
            summary.traces[verdict.trace_id].reason = verdict.reason.value
    for rewrite in rows(inputs.rewrites, Rewrite):
        if rewrite.trace_id in summary.traces:
            summary.traces[rewrite.trace_id].rewritten = rewrite.by
    _add_fates(summary, inputs)
    return summary


def funnel(summary: Summary, inputs: Inputs) -> list[FunnelRow]:
    """One row for each set of each dataset, from raw problems to training rows."""
    result = []
    sets = inputs.section("sets")
    for name, dataset in inputs.section("datasets").items():
        for set_name, wanted in dataset["mixture"].items():
            # A set that brings its traces has a teacher of its own.
            own = (sets.get(set_name) or {}).get("teacher")
            teacher = own or dataset["teacher"]
            result.append(_funnel_row(summary, name, teacher, set_name, wanted))
    return result


def reasons(summary: Summary) -> dict[tuple[str, str], Counter[str]]:
    """How often each reason was given, by model and set."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for trace in summary.traces.values():
        counts[trace.model, trace.set][trace.reason] += 1
    return dict(sorted(counts.items()))


def pass_rates(summary: Summary) -> dict[tuple[str, str], list[float]]:
    """The share of right samples among those judged, of each problem, by model and
    set."""
    counts: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for trace in summary.traces.values():
        if trace.reason in NOT_JUDGED:
            continue
        pair = counts[trace.model, trace.set, trace.problem_id]
        pair[0] += trace.reason == "correct"
        pair[1] += 1
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (model, set_name, _), (right, total) in counts.items():
        shares[model, set_name].append(right / total)
    return dict(sorted(shares.items()))


def lengths(summary: Summary) -> dict[str, dict[bool, list[int]]]:
    """Completion tokens by model, of right and of other traces."""
    result: dict[str, dict[bool, list[int]]] = defaultdict(
        lambda: {True: [], False: []}
    )
    for trace in summary.traces.values():
        if trace.finish != "error":
            result[trace.model][trace.reason == "correct"].append(trace.tokens)
    return dict(sorted(result.items()))


def rows(paths: Sequence[Path], model: type[R]) -> Iterator[R]:
    return chain.from_iterable(read_rows(path, model) for path in paths)


def _add_fates(summary: Summary, inputs: Inputs) -> None:
    for dataset, path in inputs.train.items():
        for row in read_rows(path, TrainingRow):
            summary.fates[row.trace_id].append(Fate(dataset, row=row.id))
    for dataset, path in inputs.rejected.items():
        for rejected in read_rows(path, RejectedRow):
            summary.fates[rejected.trace_id].append(
                Fate(
                    dataset,
                    stage=rejected.stage,
                    reason=rejected.reason,
                    detail=rejected.detail,
                )
            )


def _funnel_row(
    summary: Summary, dataset: str, teacher: str, set_name: str, wanted: int
) -> FunnelRow:
    found = {
        key: trace
        for key, trace in summary.traces.items()
        if trace.model == teacher and trace.set == set_name
    }
    rejected: Counter[str] = Counter()
    kept = 0
    for key in found:
        for fate in summary.fates.get(key, ()):
            if fate.dataset != dataset:
                continue
            if fate.row:
                kept += 1
            else:
                told = [fate.stage, fate.reason]
                rejected[": ".join(dict.fromkeys(told))] += 1
    return FunnelRow(
        dataset=dataset,
        set=set_name,
        problems=summary.problem_counts[set_name],
        traces=len(found),
        correct=sum(trace.reason == "correct" for trace in found.values()),
        rewritten=sum(bool(trace.rewritten) for trace in found.values()),
        rows=kept,
        wanted=wanted,
        rejected=dict(rejected.most_common()),
    )


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level of dotted keys."""
    if not isinstance(value, dict):
        return {prefix: value}
    result: dict[str, Any] = {}
    for key, entry in value.items():
        result |= flatten(entry, f"{prefix}.{key}" if prefix else str(key))
    return result

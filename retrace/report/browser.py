"""The rows that a reader can look at: a sample, and how it was drawn.

Every combination of model, set, reason and fate gets its share, so rare failures are
there; within one, the hash in a trace's id decides, which nobody chose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from retrace.report.confidential import Quotations, closed_problems, hidden_problems
from retrace.report.inputs import Inputs
from retrace.report.summary import Fate, Summary, TraceFacts, rows
from retrace.report.text import excerpt, script_json, visible
from retrace.rows import Problem, Rewrite, Trace, Verdict
from retrace.sections import parse

MAX_TEXT = 24_000
MAX_STATEMENT = 6_000
MAX_DETAIL = 600
HIDDEN = "Not shown: confidential, or too near to a confidential benchmark."

Json = dict[str, Any]
NOT_SHOWN: Json = {"statement": HIDDEN, "confidential": True}


def browse(inputs: Inputs, summary: Summary) -> Json:
    """The sampled rows and their problems, as the page's script reads them."""
    chosen = choose(inputs, summary)
    shown: dict[str, Json] = {
        key: _facts(key, summary.traces[key], summary.fates.get(key, []))
        for key in chosen
    }
    closed = closed_problems(inputs)
    hidden = hidden_problems(closed, inputs, summary)
    opened = {key for key in chosen if summary.traces[key].problem_id not in hidden}
    for key in set(chosen) - opened:
        _strip(shown[key])
    for trace in rows(inputs.traces, Trace):
        if trace.trace_id in opened:
            shown[trace.trace_id] |= _texts(trace)
    for verdict in rows(inputs.verdicts, Verdict):
        if verdict.trace_id in opened:
            shown[verdict.trace_id] |= _verdict(verdict)
    for rewrite in rows(inputs.rewrites, Rewrite):
        if rewrite.trace_id in opened:
            shown[rewrite.trace_id]["rewrite"] = _rewrite(rewrite)
    problems = _problems(inputs, {row["problem"] for row in shown.values()}, hidden)
    if closed:
        _conceal(Quotations(closed), shown, problems)
    kept = sorted(
        _within(inputs.max_bytes, shown, problems),
        key=lambda key: _order(summary, key),
    )
    wanted = {shown[key]["problem"] for key in kept}
    return {
        "problems": {key: one for key, one in problems.items() if key in wanted},
        "rows": [shown[key] for key in kept],
        "total": len(summary.traces),
    }


def choose(inputs: Inputs, summary: Summary) -> list[str]:
    """Ids of the traces to show, in the order in which they are drawn."""
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for key in sorted(summary.traces):
        trace = summary.traces[key]
        fates = summary.fates.get(key, [])
        fate = ",".join(sorted({f.stage or "row" for f in fates}))
        strata[trace.model, trace.set, trace.reason, fate].append(key)
    queues = [strata[key] for key in sorted(strata)]
    chosen: list[str] = []
    room = inputs.max_bytes
    for turn in range(max(map(len, queues), default=0)):
        for queue in queues:
            if turn < len(queue) and len(chosen) < inputs.max_rows and room > 0:
                chosen.append(queue[turn])
                room -= min(summary.traces[queue[turn]].size, MAX_TEXT) + 500
    return chosen


def _conceal(quotations: Quotations, shown: Mapping[str, Json], problems: Json) -> None:
    """Take out of rows and problems whatever quotes a closed problem."""
    quoting = {
        key
        for key, problem in problems.items()
        if any(map(quotations.stand_in, _strings(problem)))
    }
    problems |= dict.fromkeys(quoting, NOT_SHOWN)
    for row in shown.values():
        known = problems.get(row["problem"])
        if known == NOT_SHOWN or any(map(quotations.stand_in, _strings(row))):
            _strip(row)


def _strip(row: Json) -> None:
    """Leave ids, verdict and reasons."""
    for part in ("thought", "solution", "error", "answer", "by", "detail", "rewrite"):
        row.pop(part, None)
    row["fates"] = [{**fate, "detail": ""} for fate in row["fates"]]


def _strings(value: Any) -> Iterator[str]:
    """Every text in a nest of mappings and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for entry in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(entry)


def _within(limit: int, shown: Mapping[str, Json], problems: Json) -> list[str]:
    """The first rows that, with their problems, have `limit` bytes of JSON or less."""
    kept: list[str] = []
    told: set[str] = set()
    for key, row in shown.items():
        limit -= len(script_json(row).encode())
        if row["problem"] not in told:
            told.add(row["problem"])
            limit -= len(script_json(problems.get(row["problem"])).encode())
        if limit < 0:
            break
        kept.append(key)
    return kept


def _order(summary: Summary, key: str) -> tuple[int, str, str, str, int, str]:
    """Training rows, then what was left out, then what was never curated."""
    trace, fates = summary.traces[key], summary.fates.get(key, [])
    first = 0 if any(fate.row for fate in fates) else 1 if fates else 2
    return first, trace.model, trace.set, trace.problem_id, trace.sample, key


def _facts(key: str, trace: TraceFacts, fates: list[Fate]) -> Json:
    return {
        "id": key,
        "problem": trace.problem_id,
        "set": visible(trace.set),
        "model": visible(trace.model),
        "sample": trace.sample,
        "tokens": trace.tokens,
        "finish": trace.finish,
        "reason": trace.reason,
        "fates": [
            {
                "dataset": fate.dataset,
                "row": fate.row,
                "stage": visible(fate.stage),
                "reason": visible(fate.reason),
                "detail": excerpt(visible(fate.detail), MAX_DETAIL),
            }
            for fate in fates
        ],
    }


def _texts(trace: Trace) -> Json:
    sections = parse(trace.text)
    thought = trace.reasoning or sections.thought
    solution = sections.solution if thought or sections.marked else trace.text
    return {
        "thought": excerpt(visible(thought), MAX_TEXT),
        "solution": excerpt(visible(solution), MAX_TEXT),
        "error": excerpt(visible(trace.error), MAX_DETAIL),
    }


def _verdict(verdict: Verdict) -> Json:
    return {
        "answer": excerpt(visible(verdict.answer), MAX_DETAIL),
        "by": visible(verdict.by),
        "detail": excerpt(visible(verdict.detail), MAX_DETAIL),
    }


def _rewrite(rewrite: Rewrite) -> Json:
    return {
        "by": rewrite.by,
        "faithful": round(rewrite.faithful, 4),
        "rejected": visible(rewrite.rejected),
        "reason": rewrite.verdict.reason.value,
        "thought": excerpt(visible(rewrite.thought), MAX_TEXT),
        "solution": excerpt(visible(rewrite.solution), MAX_TEXT),
    }


def _problems(inputs: Inputs, wanted: set[str], hidden: set[str]) -> Json:
    result: Json = {}
    for problem in rows(inputs.problems, Problem):
        if problem.problem_id not in wanted:
            continue
        if problem.problem_id in hidden:
            result[problem.problem_id] = NOT_SHOWN
            continue
        result[problem.problem_id] = {
            "statement": excerpt(visible(problem.statement), MAX_STATEMENT),
            "reference": excerpt(visible(_reference(problem)), MAX_DETAIL),
            "domain": problem.domain.value,
            "meta": {
                visible(str(key)): excerpt(visible(str(value)), 200)
                for key, value in problem.meta.items()
            },
        }
    return result


def _reference(problem: Problem) -> str:
    reference = problem.reference
    if reference.kind == "answer":
        return reference.answer
    if reference.kind == "options":
        letter = chr(ord("A") + reference.correct)
        return f"({letter}) {reference.options[reference.correct]}"
    if reference.kind == "tests":
        first = reference.tests[0] if reference.tests else None
        shown = f"\nfirst: {first.input!r} gives {first.output!r}" if first else ""
        return f"{len(reference.tests)} tests, {reference.style}{shown}"
    return f"scored by the generator {reference.family}"

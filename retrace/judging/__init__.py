"""Judging: from a response to a verdict with a reason.

Each kind of judge is a module of this package, `retrace.judging.{kind}`, with a
`Policy` and a `Judge`. It is imported by name when a policy asks for it, so that a
change in one kind leaves the verdicts of all others as they are.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from retrace.judging.base import Judge, Judgement
from retrace.rows import Problem, Reason, Trace, Verdict
from retrace.sections import boxes, parse

KINDS = ("math", "exact", "choice", "quantity", "puzzle", "code", "structure", "llm")


def open_judge(config: Mapping[str, Any], workers: int = 1) -> Judge[Any]:
    """The judge that a config subtree asks for; use it as a context manager.

    Raises:
        ValueError: the kind is unknown, or an option does not fit its policy.
    """
    kind = config.get("kind")
    if kind not in KINDS:
        expected = ", ".join(KINDS)
        raise ValueError(f"judge.kind is {kind!r}; expected one of {expected}")
    module = importlib.import_module(f"retrace.judging.{kind}")
    judge: Judge[Any] = module.Judge(module.Policy.model_validate(config), workers)
    return judge


def judge_traces(
    judge: Judge[Any],
    problems: Mapping[str, Problem] | Iterable[Problem],
    traces: Iterable[Trace],
) -> Iterator[Verdict]:
    """One verdict for each trace, in order; memory stays flat in their number.

    A failed request is `unchecked`. A response that was cut, or that never ends its
    thought, is `truncated`, unless its answer section is already complete.

    Raises:
        KeyError: a trace belongs to none of the problems.
    """
    if not isinstance(problems, Mapping):
        problems = {problem.problem_id: problem for problem in problems}
    waiting: deque[tuple[Trace, Judgement | None]] = deque()

    def items() -> Iterator[tuple[Problem, str]]:
        for trace in traces:
            early = before_judging(trace)
            waiting.append((trace.model_copy(update={"text": ""}), early))
            if early is None:
                yield _problem(problems, trace), trace.text

    judgements = judge.judge(items())
    for judgement in judgements:
        while waiting[0][1] is not None:
            yield _verdict(*waiting.popleft())
        yield _verdict(waiting.popleft()[0], judgement)
    for trace, early in waiting:
        yield _verdict(trace, early)


def before_judging(trace: Trace) -> Judgement | None:
    """The judgement of a trace that holds no complete answer, else None."""
    if trace.finish_reason == "error":
        return Judgement(Reason.UNCHECKED, detail=trace.error or "the request failed")
    sections = parse(trace.text)
    if sections.open_thought:
        return Judgement(Reason.TRUNCATED, detail="the thought never ends")
    if trace.finish_reason == "length":
        apart = sections.marked or bool(trace.reasoning)
        if not apart or not (sections.closed or _complete(sections.solution)):
            detail = "cut by the token limit before its answer was complete"
            return Judgement(Reason.TRUNCATED, detail=detail)
    return None


def _complete(solution: str) -> bool:
    """Whether a section that was cut holds a whole box or a whole block of code."""
    return bool(boxes(solution)) or solution.count("```") >= 2


def _problem(problems: Mapping[str, Problem], trace: Trace) -> Problem:
    problem = problems.get(trace.problem_id)
    if problem is None:
        raise KeyError(
            f"trace {trace.trace_id} answers problem {trace.problem_id}, which is not"
            f" among the {len(problems)} problems given: are these files of one shard?"
        )
    return problem


def _verdict(trace: Trace, judgement: Judgement | None) -> Verdict:
    assert judgement is not None
    return Verdict(
        trace_id=trace.trace_id,
        problem_id=trace.problem_id,
        sample=trace.sample,
        ok=judgement.reason is Reason.CORRECT,
        reason=judgement.reason,
        answer=_bounded(judgement.answer, 2000),
        by=judgement.by,
        detail=_bounded(judgement.detail, 500),
    )


def _bounded(text: str, limit: int) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


__all__ = ["KINDS", "Judge", "Judgement", "judge_traces", "open_judge"]

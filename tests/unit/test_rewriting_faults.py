"""Two hundred traces with planted faults: each is caught, and no copy is dropped."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from rewriting_faults import CLEAN, DOUBTS, FAULTS, Change

from retrace import rewriting
from retrace.judging import open_judge
from retrace.rewriting import Checks
from retrace.rows import Answer, Domain, Problem, Trace, Usage

COUNT = 200
WORDS = (
    "harbour lantern market basket orchard engine ribbon copper marble violin"
    " shelter garden pocket wagon bridge candle window barrel ladder anchor"
)


@dataclass(frozen=True)
class Response:
    text: str
    finish_reason: str = "stop"
    error: str = ""


def written(number: int) -> tuple[Problem, Trace, str, str]:
    """A problem, its trace, and the two parts that the trace consists of."""
    draw = random.Random(number)
    things = draw.sample(WORDS.split(), 5)
    total = 0
    steps = []
    for step in range(draw.randint(5, 14)):
        add = draw.randint(2, 97)
        thing, other = draw.sample(things, 2)
        steps.append(
            f"Okay, step {step + 1}: the {thing} by the {other} holds {add} more, so"
            f" let me add them to what I have, that is \\({total} + {add} ="
            f" {total + add}\\), which I can check by going back from {total + add} to"
            f" {total} by subtracting \\({add}\\) again and looking at the {other}."
        )
        if step % 3 == 0:
            steps[-1] += f" {DOUBTS[step // 3 % 4]}"
        if draw.random() < 0.2:
            steps.append(f"Going on with the {thing}, then.")
        total += add
    problem = Problem.make(
        "sums",
        Domain.MATH,
        f"How many are there? ({number})",
        Answer(answer=str(total)),
    )
    thought = "\n\n".join(steps)
    solution = f"In all there are \\boxed{{{total}}} of them."
    trace = Trace(
        trace_id=f"t{number}",
        problem_id=problem.problem_id,
        model="m",
        sample=0,
        text=f"{thought}\n\n{solution}",
        finish_reason="stop",
        usage=Usage(),
    )
    return problem, trace, thought, solution


def accepted(change: Change) -> list[bool]:
    problems, traces, responses = {}, [], {}
    for number in range(COUNT):
        problem, trace, thought, solution = written(number)
        problems[problem.problem_id] = problem
        traces.append(trace)
        text = change(thought, solution, random.Random(number))
        responses[trace.trace_id] = Response(text)
    with open_judge({"kind": "exact"}) as judge:
        rows = list(rewriting.rewrite(problems, traces, responses, Checks(), judge))
    assert all(row.verdict.ok for row in rows)
    return [row.by == "model" for row in rows]


@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.__name__)
def test_every_fault_is_caught(change: Change) -> None:
    assert not any(accepted(change))


@pytest.mark.parametrize("change", CLEAN, ids=lambda change: change.__name__)
def test_no_copy_is_dropped(change: Change) -> None:
    assert all(accepted(change))

"""Rewrites: the format, the rule that changes no word, and the checks on a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrace import rewriting
from retrace.judging import open_judge
from retrace.rewriting import Checks, StructureError
from retrace.rows import (
    Answer,
    Domain,
    Problem,
    Reason,
    Rewrite,
    Trace,
    Usage,
    Verdict,
    read_rows,
    write_rows,
)
from retrace.sections import has_marker, parse
from tests.fault_server import FaultServer

SUM = Problem.make(
    "sums", Domain.MATH, "Nina has 17 shells and finds 25 more.", Answer(answer="42")
)
PROGRAM = Problem.make("programs", Domain.CODE, "Print 1.", Answer(answer="1"))
STEPS = (
    "Nina starts with 17 shells on the beach.\n\n"
    "Later that day she finds another 25 shells near the pier, so these are added to"
    " the ones she already has in her bucket.\n\n"
    "Adding gives 17 + 25 = 42, and counting backwards 42 - 25 = 17 agrees with that."
)
TEXT = STEPS + "\n\nSo she has \\boxed{42} shells."


@dataclass(frozen=True)
class Response:
    text: str
    finish_reason: str = "stop"
    error: str = ""


def trace(text: str = TEXT, reasoning: str = "", problem: Problem = SUM) -> Trace:
    return Trace(
        trace_id="t",
        problem_id=problem.problem_id,
        model="m",
        sample=0,
        text=text,
        reasoning=reasoning,
        finish_reason="stop",
        usage=Usage(),
    )


def rewritten(thought: str, solution: str) -> str:
    return rewriting.assistant_turn(thought, solution)


# --- The rule ---


@pytest.mark.parametrize(
    ("text", "thought", "solution"),
    [
        (TEXT, STEPS, "So she has \\boxed{42} shells."),
        ("First 17.\nThen \\boxed{42}.", "First 17.", "Then \\boxed{42}."),
        ("It is 17 and 25. So \\boxed{42}.", "It is 17 and 25.", "So \\boxed{42}."),
        ("\\boxed{42}", "", "\\boxed{42}"),
        ("One.\n\n\\boxed{1}\n\nTwo.\n\n\\boxed{2}", "One.\n\n\\boxed{1}\n\nTwo.",
         "\\boxed{2}"),
        ("Long thought.\n\nThe answer is 42.", "Long thought.", "The answer is 42."),
        ("<think>Hm.</think>\\boxed{42}", "Hm.", "\\boxed{42}"),
        (rewritten("Hm.", "\\boxed{42}"), "Hm.", "\\boxed{42}"),
    ],
)  # fmt: skip
def test_the_rule_divides_where_the_answer_is_stated(
    text: str, thought: str, solution: str
) -> None:
    division = rewriting.divide(SUM, trace(text))
    assert (division.thought, division.solution) == (thought, solution)


def test_a_program_is_its_last_block() -> None:
    text = "Try:\n```python\nprint(0)\n```\nWrong.\n\n```python\nprint(1)\n```\nDone."
    division = rewriting.divide(PROGRAM, trace(text, problem=PROGRAM))
    assert division.solution == "```python\nprint(1)\n```\nDone."
    assert division.thought.endswith("Wrong.")


def test_a_thought_that_came_apart_stays_apart() -> None:
    division = rewriting.divide(SUM, trace("\\boxed{42}", reasoning="17 and 25"))
    assert division == rewriting.Division("17 and 25", "\\boxed{42}")


@given(st.lists(st.text(alphabet="ab 1.\n\\${}", max_size=30), max_size=6))
def test_the_rule_changes_no_word(parts: list[str]) -> None:
    text = "\n\n".join([*parts, "so \\boxed{42}"])
    division = rewriting.divide(SUM, trace(text))
    assert (division.thought + division.solution).split() == text.split() or (
        "".join((division.thought + division.solution).split()) == "".join(text.split())
    )
    assert "\\boxed{42}" in division.solution


# --- The format ---


@pytest.mark.parametrize(
    ("response", "name"),
    [
        ("An error occurred: rate limit", "markers"),
        (rewritten("a", "b").replace("<|end_of_thought|>", ""), "markers"),
        (rewritten("a", "b") + rewritten("a", "b"), "markers"),
        ("Sure! Here it is:\n" + rewritten("a", "b"), "outside"),
        (rewritten("a", "b") + "\nHope this helps.", "outside"),
        (rewritten(" ", "b"), "empty"),
        (rewritten("a", ""), "empty"),
    ],
)
def test_a_broken_format_is_named(response: str, name: str) -> None:
    with pytest.raises(StructureError) as caught:
        rewriting.read(SUM, trace(), response, Checks())
    assert caught.value.name == name


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_program_has_one_block_of_code(blocks: int) -> None:
    solution = "text " + "\n```python\nprint(1)\n```\n" * blocks
    with pytest.raises(StructureError, match="code_blocks"):
        rewriting.read(PROGRAM, trace(), rewritten("a", solution), Checks())


def test_with_solution_only_the_thought_is_the_trace() -> None:
    checks = Checks(strategy="solution_only")
    division = rewriting.read(SUM, trace(), "It is \\boxed{42}.", checks)
    assert division == rewriting.Division(TEXT, "It is \\boxed{42}.")


@pytest.mark.parametrize(
    "text",
    [
        rewritten(STEPS, "So \\boxed{42}."),
        f"<think>{STEPS}</think>\n\nSo \\boxed{{42}}.",
    ],
)
def test_a_traces_own_markers_are_no_part_of_it(text: str) -> None:
    copy = rewriting.Division(STEPS, "So \\boxed{42}.")
    assert rewriting.check(trace(text), copy, Checks()).fault == ""
    alone = Checks(strategy="solution_only")
    thought = rewriting.read(SUM, trace(text), "It is \\boxed{42}.", alone).thought
    assert thought.startswith("Nina")
    assert not has_marker(thought)


def test_an_error_message_is_no_solution() -> None:
    alone = Checks(strategy="solution_only")
    broken = "It is \\boxed{42}. Error code: 503"
    with pytest.raises(StructureError, match="error_text"):
        rewriting.read(SUM, trace(), broken, alone)
    asked = SUM.model_copy(update={"statement": "What means error code: 503?"})
    assert rewriting.read(asked, trace(), broken, alone).solution == broken


# --- Faithfulness ---


def fault(thought: str, solution: str = "\\boxed{42}") -> str:
    division = rewriting.Division(thought, solution)
    return rewriting.check(trace(), division, Checks()).fault


@pytest.mark.parametrize(
    "thought",
    [
        STEPS,
        TEXT,
        STEPS.replace("\n\n", "\n"),
        STEPS.replace("17 + 25 = 42", "$17 + 25 = 42$"),
        STEPS.replace("the ones she", "those she"),
    ],
)
def test_a_copy_passes(thought: str) -> None:
    assert fault(thought, "So she has \\boxed{42} shells.") == ""


@pytest.mark.parametrize(
    ("thought", "name"),
    [
        (STEPS.replace("17 + 25", "17 + 24"), "changed"),
        (STEPS.replace("17 + 25", "17 - 25"), "changed"),
        (STEPS.split("\n\n")[0] + "\n\n" + STEPS.split("\n\n")[2], "dropped"),
        ("She adds both counts and gets the total.", "dropped"),
        (STEPS + " Let me add that shells are found on many beaches of the world in"
         " summer and in winter alike.", "added"),
        (STEPS + "\n\nThat is all.", "added"),
        (STEPS.replace("Nina starts with", "Nina does not start with"), "changed"),
    ],
)  # fmt: skip
def test_a_fault_is_named(thought: str, name: str) -> None:
    assert fault(thought).startswith(name)


# --- From traces to rewrites ---


def test_a_rewrite_that_fails_falls_back_to_the_rule() -> None:
    traces = [
        trace().model_copy(update={"trace_id": name})
        for name in ("good", "summary", "wrong", "cut", "none")
    ]
    responses = {
        "good": Response(rewritten(STEPS, "So she has \\boxed{42} shells.")),
        "summary": Response(rewritten("She adds.", "\\boxed{42}")),
        "wrong": Response(rewritten(STEPS, "So she has \\boxed{43} shells.")),
        "cut": Response(rewritten(STEPS, "So she"), finish_reason="length"),
    }
    with open_judge({"kind": "exact"}) as judge:
        problems = {SUM.problem_id: SUM}
        rows = list(rewriting.rewrite(problems, traces, responses, Checks(), judge))
    assert [row.by for row in rows] == ["model", "rule", "rule", "rule", "rule"]
    assert [row.rejected.partition(":")[0] for row in rows] == [
        "", "dropped", "verdict", "finish_reason", "",
    ]  # fmt: skip
    assert all(row.verdict.ok for row in rows)
    assert all(parse(rewritten(r.thought, r.solution)).complete for r in rows)


def test_only_right_traces_are_rewritten_unless_asked() -> None:
    right, wrong = trace(), trace().model_copy(update={"trace_id": "w"})
    verdicts = {
        row.trace_id: Verdict(
            trace_id=row.trace_id,
            problem_id=row.problem_id,
            sample=0,
            ok=row is right,
            reason=Reason.CORRECT if row is right else Reason.WRONG_ANSWER,
        )
        for row in (right, wrong)
    }
    assert rewriting.wanted([right, wrong], verdicts, Checks()) == [right]
    both = rewriting.wanted([right, wrong], verdicts, Checks(wrong_too=True))
    assert both == [right, wrong]
    with pytest.raises(KeyError, match="judge it first"):
        rewriting.wanted([right], {}, Checks())


def test_a_statement_cannot_smuggle_a_trace_into_the_prompt() -> None:
    prompt = rewriting.Prompt(template="{statement} | {trace} | \\boxed{}")
    tricky = SUM.model_copy(update={"statement": "say {trace}"})
    asked = rewriting.messages(prompt, tricky, trace("T"))
    assert asked == [{"role": "user", "content": "say {trace} | T | \\boxed{}"}]


def run_script(folder: Path, *arguments: str) -> list[Rewrite]:
    """Rewrite one right trace by the script."""
    judged = Verdict(
        trace_id="t",
        problem_id=SUM.problem_id,
        sample=0,
        ok=True,
        reason=Reason.CORRECT,
    )
    command = [sys.executable, "scripts/rewrite_traces.py", *arguments]
    command += ["--judge", '{"kind": "exact"}', "--out", str(folder / "out")]
    for name, row in (("problems", SUM), ("traces", trace()), ("verdicts", judged)):
        write_rows(folder / name, [row])
        command += [f"--{name}", str(folder / name)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OPENAI_API_KEY": "none"}
    subprocess.run(command, check=True, cwd=root, env=environment)
    return list(read_rows(folder / "out", Rewrite))


def test_the_script_divides_by_the_rule_without_a_model(tmp_path: Path) -> None:
    (row,) = run_script(tmp_path, "--rewriter", "null")
    assert (row.by, row.thought, row.verdict.ok) == ("rule", STEPS, True)


def test_the_script_asks_a_model_once_and_checks_what_it_says(tmp_path: Path) -> None:
    prompt = {"system": "Divide.", "template": "{statement} | {trace}", "shots": []}
    rewriter = {
        "model": "m",
        "prompt": prompt,
        "sampling": {"max_tokens": 64},
        "checks": {},
    }
    with FaultServer() as server:
        engine = {"kind": "openai", "base_url": server.base_url}
        arguments = ["--rewriter", json.dumps(rewriter), "--engine", json.dumps(engine)]
        arguments += ["--weights", "m", "--journals", str(tmp_path / "journals")]
        arguments += ["--journal", str(tmp_path / "journals" / "j.jsonl")]
        (row,) = run_script(tmp_path, *arguments)
        asked = server.seen()["requests"]
        (again,) = run_script(tmp_path, *arguments)
        asked_again = server.seen()["requests"]
    assert (row.by, row.rejected.partition(":")[0]) == ("rule", "markers")
    assert row.verdict.ok
    assert again == row
    assert (asked, asked_again) == (1, 1)

"""From traces to verdicts: through the library, and through the script."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrace.judging import judge_traces, open_judge
from retrace.rows import (
    Answer,
    Domain,
    Problem,
    Reason,
    Trace,
    Usage,
    Verdict,
    read_rows,
    write_rows,
)

SCRIPT = Path(__file__).parents[2] / "scripts" / "judge_traces.py"
THOUGHT = "<|begin_of_thought|>\n\nhm \\boxed{1}\n\n<|end_of_thought|>\n\n"


def problem(answer: str) -> Problem:
    return Problem.make("set", Domain.MATH, "?", Answer(answer=answer))


def trace(of: Problem, text: str, finish: str = "stop", sample: int = 0) -> Trace:
    return Trace(
        trace_id=f"t{sample}",
        problem_id=of.problem_id,
        model="m",
        sample=sample,
        text=text,
        finish_reason=finish,  # type: ignore[arg-type]
        usage=Usage(),
        error="HTTP 500 three times" if finish == "error" else "",
    )


def verdicts(gold: str, *responses: tuple[str, str]) -> list[Verdict]:
    one = problem(gold)
    traces = [
        trace(one, text, finish, index)
        for index, (text, finish) in enumerate(responses)
    ]
    with open_judge({"kind": "math"}) as judge:
        return list(judge_traces(judge, [one], traces))


def test_order_is_kept_whatever_decides() -> None:
    rows = verdicts(
        "4",
        ("", "error"),
        ("\\boxed{4}", "stop"),
        ("<think>\\boxed{4}", "stop"),
        ("\\boxed{x^2+3x}", "stop"),
        ("\\boxed{5}", "stop"),
        ("nothing", "stop"),
        ("", "error"),
    )
    assert [row.trace_id for row in rows] == [f"t{n}" for n in range(7)]
    assert [row.reason for row in rows] == [
        Reason.UNCHECKED,
        Reason.CORRECT,
        Reason.TRUNCATED,
        Reason.WRONG_ANSWER,
        Reason.WRONG_ANSWER,
        Reason.NO_ANSWER,
        Reason.UNCHECKED,
    ]
    assert rows[0].detail == "HTTP 500 three times"


def test_what_was_cut_is_truncated_unless_its_answer_is_complete() -> None:
    solution = THOUGHT + "<|begin_of_solution|>\n\nso \\boxed{4}"
    rows = verdicts(
        "4",
        ("we see \\boxed{4}", "length"),
        (solution, "length"),
        (solution[:-1], "length"),
        (solution + "\n<|end_of_solution|>", "length"),
        (THOUGHT, "length"),
    )
    assert [row.reason.value for row in rows] == [
        "truncated",
        "correct",
        "truncated",
        "correct",
        "truncated",
    ]


def test_a_box_in_the_thought_alone_is_no_answer() -> None:
    text = THOUGHT + "<|begin_of_solution|>It is so.<|end_of_solution|>"
    assert verdicts("1", (text, "stop"))[0].reason is Reason.NO_ANSWER


def test_a_recipe_may_let_the_box_in_the_thought_count() -> None:
    texts = (THOUGHT + "It is so.", THOUGHT + "So \\boxed{2}.", "<think>\\boxed{1}")
    one = problem("1")
    traces = [trace(one, text, sample=n) for n, text in enumerate(texts)]
    with open_judge({"kind": "math", "thought": True}) as judge:
        reasons = [row.reason.value for row in judge_traces(judge, [one], traces)]
    assert reasons == ["correct", "wrong_answer", "truncated"]


def test_a_trace_of_another_shard_is_an_error() -> None:
    with (
        open_judge({"kind": "exact"}) as judge,
        pytest.raises(KeyError, match="of one shard"),
    ):
        list(judge_traces(judge, [problem("4")], [trace(problem("5"), "5")]))


def test_an_unknown_kind_names_the_kinds_there_are() -> None:
    with pytest.raises(ValueError, match="'maths'; expected one of math, exact"):
        open_judge({"kind": "maths"})


def test_the_script_writes_verdicts_and_their_contract(tmp_path: Path) -> None:
    one = problem("12")
    write_rows(tmp_path / "p.jsonl", [one])
    write_rows(
        tmp_path / "t.jsonl",
        [trace(one, f"\\boxed{{{n}}}", "stop", n) for n in (11, 12)],
    )
    command = [sys.executable, str(SCRIPT), "--judge", '{"kind": "math"}']
    for name, file in [
        ("--problems", "p.jsonl"),
        ("--traces", "t.jsonl"),
        ("--out", "v.jsonl"),
        ("--contract-out", "v.judge.json"),
    ]:
        command += [name, str(tmp_path / file)]
    root = str(SCRIPT.parents[1])
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    rows = list(read_rows(tmp_path / "v.jsonl", Verdict))
    assert [row.ok for row in rows] == [False, True]
    assert "2 verdicts: correct 1, wrong_answer 1" in done.stderr
    contract = json.loads((tmp_path / "v.judge.json").read_text())
    assert contract["policy"]["kind"] == "math"
    assert contract["libraries"]["math-verify"]

"""`retrace show`: finds rows by id, and shows what they hold without obeying it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrace.cli import main
from retrace.rows import Answer, Domain, Problem, Trace, Usage, write_rows

ATTACK = "\x1b[2J\x1b]0;title\x07 [bold red]not bold[/] \u202e"


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    problem = Problem.make("sums", Domain.MATH, f"1 + 1? {ATTACK}", Answer(answer="2"))
    traces = [
        Trace(
            trace_id=f"{number}aaaaaaa",
            problem_id=problem.problem_id,
            model="small",
            sample=number,
            text="x" * 20_000 + ATTACK,
            finish_reason="stop",
            usage=Usage(),
        )
        for number in range(2)
    ]
    write_rows(tmp_path / "problems/sums/0000.jsonl", [problem])
    write_rows(tmp_path / "traces/small/sums/0000.jsonl", traces)
    return problem


def test_a_trace_comes_with_its_problem(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "0aaaaa", str(tmp_path), "--json"]) == 0
    rows = [entry["row"] for entry in json.loads(capsys.readouterr().out)]
    assert [row.get("trace_id") for row in rows] == [None, "0aaaaaaa"]
    assert rows[0]["problem_id"] == problem.problem_id


def test_a_problem_comes_with_its_traces(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", problem.problem_id, str(tmp_path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_foreign_text_does_nothing(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "0aaaaa", str(tmp_path), "--full"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "[bold red]not bold[/]" in shown.replace("\n", "")


def test_foreign_text_does_nothing_as_json_either(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statement = problem.statement + "\x9b2J \U000e0041"
    write_rows(
        tmp_path / "problems/sums/0000.jsonl",
        [problem.model_copy(update={"statement": statement})],
    )
    assert main(["show", problem.problem_id, str(tmp_path), "--json"]) == 0
    shown = capsys.readouterr().out
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e", "\U000e0041"}
    assert json.loads(shown)[0]["row"]["statement"] == statement


def test_a_damaged_line_is_named(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(tmp_path / "traces/small/sums/0000.jsonl", "a") as file:
        file.write('{"trace_id": "0aaaaaaa", "text')
    assert main(["show", "0aaaaa", str(tmp_path)]) == 2
    assert "0000.jsonl:3: not JSON" in capsys.readouterr().err


def test_long_texts_are_cut_unless_full(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["show", "0aaaaa", str(tmp_path)])
    short = capsys.readouterr().out
    main(["show", "0aaaaa", str(tmp_path), "--full"])
    assert "are left out here" in short
    assert len(capsys.readouterr().out) > 2 * len(short)


def test_no_row_and_too_short_an_id(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "ffffffff", str(tmp_path)]) == 1
    assert "no row ffffffff" in capsys.readouterr().err
    assert main(["show", "0aa", str(tmp_path)]) == 2


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "abcdef12", str(tmp_path / "data")]) == 2
    assert "data is not here: run the workflow" in capsys.readouterr().err

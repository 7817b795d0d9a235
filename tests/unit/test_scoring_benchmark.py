"""From rows to a score: what counts, what is missing, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from retrace.commands import score as gate
from retrace.commands import scores as table_command
from retrace.rows import (
    Answer,
    Domain,
    Problem,
    Reason,
    Trace,
    Usage,
    Verdict,
    write_rows,
)
from retrace.scoring import benchmark, table

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import score_benchmark

Rows = tuple[list[Problem], list[Trace], list[Verdict]]


def rows(outcomes: list[list[Reason | str]], **meta: Any) -> Rows:
    """Rows of one set: a list of reasons for each problem, "error" for no answer."""
    problems, traces, verdicts = [], [], []
    for number, reasons in enumerate(outcomes):
        level = {"level": number % 2, **meta}
        problem = Problem.make(
            "sums", Domain.MATH, f"{number}?", Answer(answer="1"), level
        )
        problems.append(problem)
        for sample, reason in enumerate(reasons):
            failed = reason == "error"
            trace = Trace(
                trace_id=f"{number}-{sample}",
                problem_id=problem.problem_id,
                model="small",
                sample=sample,
                text="" if failed else "1",
                finish_reason="error" if failed else "stop",
                usage=Usage(prompt_tokens=3, completion_tokens=5),
            )
            traces.append(trace)
            if reason != "none":
                found = Reason.UNCHECKED if failed else Reason(reason)
                verdicts.append(
                    Verdict(
                        trace_id=trace.trace_id,
                        problem_id=problem.problem_id,
                        sample=sample,
                        ok=found is Reason.CORRECT,
                        reason=found,
                        answer="1" if found is Reason.CORRECT else "2",
                    )
                )
    return problems, traces, verdicts


def scored(
    outcomes: list[list[Reason | str]], n: int = 1, **more: Any
) -> dict[str, Any]:
    return benchmark.score("small", "sums", *rows(outcomes), {"sums": n}, {}, **more)


def test_accuracy_with_one_sample() -> None:
    result = scored([["correct"], ["wrong_answer"], ["no_answer"], ["truncated"]])
    assert result["accuracy"] == 25.0
    assert result["method"] == "wilson"
    assert (result["low"], result["high"]) == pytest.approx((4.5587, 69.9358), abs=1e-3)
    assert result["complete"] is True
    assert result["reasons"] == {
        "correct": 1,
        "no_answer": 1,
        "truncated": 1,
        "wrong_answer": 1,
    }


@pytest.mark.parametrize(
    "fault", ["unchecked", "judge_error", "unparsable_reference", "error", "none"]
)
def test_what_was_not_judged_is_missing_and_not_wrong(fault: str) -> None:
    result = scored([["correct"], [fault], ["wrong_answer"]])
    assert result["accuracy"] == 50.0
    assert result["complete"] is False
    assert result["samples_missing"] == 1
    assert result["problems_scored"] == 2
    assert result["bounds"] == {"low": 33.3333, "high": 66.6667}


def test_a_sample_that_was_never_made_is_missing() -> None:
    result = scored([["correct"], []])
    assert result["accuracy"] == 100.0
    assert result["reasons"] == {"correct": 1, "no_sample": 1}
    assert result["complete"] is False


def test_problems_weigh_the_same_however_many_samples_are_missing() -> None:
    result = scored([["correct"] * 4, ["wrong_answer", "none", "none", "none"]], n=4)
    assert result["accuracy"] == 50.0


def test_several_samples() -> None:
    one = ["correct", "correct", "wrong_answer", "no_answer"]
    two = ["wrong_answer"] * 4
    result = scored([one, two], n=4)
    assert result["accuracy"] == 25.0
    assert result["pass_at"] == {"1": 25.0, "2": 41.6667, "4": 50.0}
    assert result["avg_at"] == {"4": 25.0}
    assert result["maj_at"] == {"4": 25.0}
    assert result["method"] == "cluster bootstrap"


def test_categories_that_tell_apart() -> None:
    result = scored([["correct"], ["wrong_answer"], ["correct"], ["correct"]])
    assert set(result["categories"]) == {"level"}
    assert result["categories"]["level"]["0"]["accuracy"] == 100.0
    assert result["categories"]["level"]["1"]["accuracy"] == 50.0


def test_flawed_problems_are_reported_with_and_without() -> None:
    problems, traces, verdicts = rows([["correct"], ["wrong_answer"]])
    flawed = problems[1].model_copy(update={"meta": {"flaw": "no output is right"}})
    result = benchmark.score(
        "small", "sums", [problems[0], flawed], traces, verdicts, {"sums": 1}, {}
    )
    assert result["accuracy"] == 50.0
    assert result["without_flawed"]["accuracy"] == 100.0


def test_nothing_judged_has_no_accuracy() -> None:
    result = scored([["unchecked"]], published=[{"score": 40.0}])
    assert result["accuracy"] is None
    assert result["verdict"] == "nothing judged"
    assert table.cells(result)[3] == "–"
    assert scored([["unchecked"]])["verdict"] == "not published"


def test_rows_that_do_not_belong_together_are_refused() -> None:
    problems, traces, verdicts = rows([["correct"], ["correct"]])
    with pytest.raises(benchmark.ScoreError, match="not in the problem files"):
        benchmark.collect(problems[:1], traces, verdicts, {"sums": 1})
    with pytest.raises(benchmark.ScoreError, match="belong to no trace"):
        benchmark.collect(problems, traces[:1], verdicts, {"sums": 1})
    with pytest.raises(benchmark.ScoreError, match="no sample count"):
        benchmark.collect(problems, traces, verdicts, {"other": 1})
    with pytest.raises(benchmark.ScoreError, match="more than"):
        benchmark.collect(*rows([["correct", "correct"]]), {"sums": 1})


@pytest.mark.parametrize("twice", range(3))
def test_a_row_that_comes_twice_is_refused(twice: int) -> None:
    given = list(rows([["correct"], ["wrong_answer"]]))
    given[twice] += given[twice][:1]  # type: ignore[operator]
    with pytest.raises(benchmark.ScoreError, match="rows have"):
        benchmark.collect(*given, {"sums": 2})  # type: ignore[arg-type]


def test_examples_of_a_protocol_are_hashed_however_short() -> None:
    shots = [{"problem": "1 + 1?", "answer": "2"}]
    protocol = {"sets": {"sums": {"shots": shots, "judge": {"kind": "math"}}}}
    given = benchmark.score(
        "small",
        "sums",
        *rows([["correct"]]),
        {"sums": 1},
        protocol,
        [{"score": 9.0, "protocol": {"shots": []}}],
    )
    assert "1 + 1?" not in json.dumps(given)
    assert given["protocol"]["sets"]["sums"]["judge"] == {"kind": "math"}
    assert "shots" in given["published"][0]["protocol"]["differences"][0]


def test_long_texts_of_the_protocol_are_hashed() -> None:
    short = benchmark.shorten({"system": "Think.\n" * 40, "sampling": {"n": 1}})
    assert short["sampling"] == {"n": 1}
    assert short["system"].startswith("sha256:")
    assert len(short["system"]) < 30


# --- The script and the commands ------------------------------------------------------


def write_score(
    folder: Path, outcomes: list[list[Reason | str]], published: float
) -> Path:
    for name, part in zip("ptv", rows(outcomes), strict=True):
        write_rows(folder / f"{name}.jsonl", part)
    out = folder / "scores" / "small" / "sums.json"
    arguments = ["--model", "small", "--benchmark", "sums", "--samples", '{"sums": 1}']
    for name, option in zip("ptv", ("problems", "traces", "verdicts"), strict=True):
        arguments += [f"--{option}", str(folder / f"{name}.jsonl")]
    entry = {"model": "small", "benchmark": "sums", "score": published, "source": "us"}
    other = {**entry, "model": "large"}
    arguments += ["--published", json.dumps([entry, other]), "--out", str(out)]
    assert score_benchmark.main(arguments) == 0
    return out


def test_the_script_gives_the_same_bytes(tmp_path: Path) -> None:
    outcomes = [["correct"], ["wrong_answer"], ["correct"]]
    first = write_score(tmp_path / "a", outcomes, 60).read_bytes()
    second = write_score(tmp_path / "b", outcomes, 60).read_bytes()
    assert first == second
    result = json.loads(first)
    assert len(result["published"]) == 1
    assert [item["correct"] for item in result["items"]] == [1, 0, 1]


@pytest.mark.parametrize(
    ("outcomes", "published", "strict", "code"),
    [
        ([["correct"]] * 200, 20.0, False, 1),
        ([["correct"]] * 200, 100.0, True, 0),
        ([["correct"], ["wrong_answer"]], 50.0, False, 0),
        ([["correct"], ["wrong_answer"]], 50.0, True, 3),
        ([["correct"], ["unchecked"]], 90.0, False, 3),
    ],
)
def test_the_gate(
    tmp_path: Path,
    outcomes: list[list[Reason | str]],
    published: float,
    strict: bool,
    code: int,
) -> None:
    write_score(tmp_path, outcomes, published)
    assert gate.run(_args(gate, "score", tmp_path / "scores", strict=strict)) == code


def test_the_gate_says_what_is_not_known_of_a_protocol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_score(tmp_path, [["correct"]] * 20, 90.0)
    gate.run(_args(gate, "score", tmp_path / "scores"))
    assert "its protocol is not stated" in capsys.readouterr().out


def test_the_table(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    write_score(tmp_path, [["correct"], ["wrong_answer"], ["unchecked"]], 50)
    assert table_command.run(_args(table_command, "scores", tmp_path / "scores")) == 0
    shown = capsys.readouterr().out
    assert "2 of 3" in shown
    assert "not counted wrong" in shown
    markdown = _args(table_command, "scores", tmp_path / "scores", markdown=True)
    assert table_command.run(markdown) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        "| sums | small | 2 of 3 | 50.0 | 9.5 to 90.5 | 50.0 | not distinguishable * |"
    )
    assert lines[4].startswith("* the published number was made by another protocol")
    as_json = _args(table_command, "scores", tmp_path / "scores", json=True)
    assert table_command.run(as_json) == 0
    assert json.loads(capsys.readouterr().out)[0]["accuracy"] == 50.0


def test_a_file_that_is_no_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert table_command.run(_args(table_command, "scores", tmp_path)) == 2
    assert "not a score" in capsys.readouterr().err
    assert gate.run(_args(gate, "score", tmp_path / "nothing.json")) == 2
    write_score(tmp_path / "run", [["correct"]] * 9, 90.0)
    args = _args(gate, "score", tmp_path / "run" / "scores")
    args.files.append(tmp_path / "missing.json")
    assert gate.run(args) == 2
    assert "no scores in" in capsys.readouterr().err


def test_rows_that_do_not_fit_are_one_line_of_the_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        write_score(tmp_path, [["correct", "correct"]], 50)
    assert capsys.readouterr().err.startswith("score_benchmark: problem ")
    with pytest.raises(SystemExit):
        score_benchmark.main(["--samples", '{"sums": 0}'])
    assert "expected at least 1" in capsys.readouterr().err


def _args(command: Any, name: str, path: Path, **more: Any) -> Any:
    import argparse

    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    options = [f"--{key}" for key, value in more.items() if value]
    return parser.parse_args([name, *options, str(path)])


def test_rows_for_plots() -> None:
    result = scored([["correct"], ["wrong_answer"], ["correct"], ["correct"]])
    rows = table.plot_rows([result])
    assert [row[2:6] for row in rows] == [
        ("all", "all", 4, 75.0),
        ("level", "0", 2, 100.0),
        ("level", "1", 2, 50.0),
    ]
    assert {row[:2] for row in rows} == {(result["benchmark"], result["model"])}
    assert {len(row) for row in rows} == {len(table.PLOT_COLUMNS)}


@pytest.mark.slow
def test_dvc_compares_scores(tmp_path: Path) -> None:
    """`dvc metrics diff` reads a score as it is, and names the key that changed."""
    path = write_score(tmp_path, [["correct"], ["wrong_answer"]], 50)
    name = path.relative_to(tmp_path).as_posix()
    (tmp_path / "dvc.yaml").write_text(f"metrics:\n  - {name}\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    dvc = [sys.executable, "-m", "dvc"]
    for command in (
        [*git, "init", "-q"],
        [*dvc, "init", "-q"],
        [*git, "add", "-A"],
        [*git, "commit", "-qm", "one"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    write_score(tmp_path, [["correct"], ["correct"]], 50)
    diff = subprocess.run(
        [*dvc, "metrics", "diff", "--json"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    changed = json.loads(diff.stdout)[name]
    assert changed["accuracy"] == {"old": 50.0, "new": 100.0, "diff": 50.0}
    assert "published" not in changed

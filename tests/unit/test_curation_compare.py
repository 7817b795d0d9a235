"""Two training sets beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from curation_rows import problem

from retrace import cli
from retrace.curation import compare
from retrace.rewriting import assistant_turn
from retrace.rows import write_rows


def row(user: str, answer: str = "7", **more: str) -> dict[str, object]:
    value = assistant_turn("Let me see.", f"It is \\boxed{{{answer}}}.")
    turns = [{"from": "user", "value": user}, {"from": "assistant", "value": value}]
    return {"conversations": turns, **more}


def write(path: Path, rows: list[dict[str, object]], array: bool = False) -> Path:
    lines = "\n".join(json.dumps(one) for one in rows)
    path.write_text(json.dumps(rows) if array else lines + "\n", "utf-8")
    return path


def test_two_files_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = "Return your final response within \\boxed{}. "
    left = [row(ask + problem(n).statement, domain="math") for n in range(40)]
    left.append(left[3])
    right = [row(problem(n).statement + "\nBox it.") for n in range(30, 60)]
    files = [
        write(tmp_path / "a.json", left, array=True),
        write(tmp_path / "b.jsonl", right),
    ]
    bench = tmp_path / "bench.jsonl"
    write_rows(bench, [problem(5, "exam"), problem(35, "exam")])
    arguments = ["compare-dataset", *map(str, files), "--benchmarks", str(bench)]
    assert cli.main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["a"]["rows"] == 41
    assert result["a"]["distinct rows"] == 40
    assert result["a"]["distinct problems"] == 40
    assert result["a"]["domains"] == {"math": 41}
    assert result["b"]["domains"] == {"math?": 30}
    assert result["b"]["complete sections"] == 30
    found = [result[side]["contaminated statements"] for side in "ab"]
    assert found == [2, 1]
    assert result["in both"]["copies"] == 10
    assert cli.main(arguments) == 0
    assert "Problems in both, copies: 10" in capsys.readouterr().out


def test_foreign_domains_do_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row("1 + 1?", domain="\x1b[2J[bold]loud[/] \u202e")]
    path = str(write(tmp_path / "a.jsonl", rows))
    assert cli.main(["compare-dataset", path, path]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[bold]loud[/]" in shown.replace("\n", "")


def test_instructions_are_no_part_of_a_problem() -> None:
    rows = [
        compare.Row(f"Box it. {problem(n).statement}\nThink.", "", "math")
        for n in range(9)
    ]
    assert compare.problems(rows) == [problem(n).statement for n in range(9)]


def test_a_file_of_another_kind_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "a.jsonl", [row("x")])
    bad = write(tmp_path / "b.jsonl", [{"prompt": "x"}])
    assert cli.main(["compare-dataset", str(good), str(bad)]) == 2
    message = capsys.readouterr().err
    assert "b.jsonl: row 1: expected `conversations`" in message
    line = good.read_text("utf-8").splitlines()[0]
    for content, said in (
        (f"{line}\n\n{{".encode(), "no JSON at line 3"),
        (b"PAR1\x15\x04\x15\xff\xfe", "parquet"),
        (line.replace('"x"', "5").encode(), "row 1: expected `conversations`"),
    ):
        bad.write_bytes(content)
        assert cli.main(["compare-dataset", str(good), str(bad)]) == 2
        assert said in capsys.readouterr().err
    bad.write_text(f"\ufeff\n[{line}]", "utf-8")
    assert cli.main(["compare-dataset", str(good), str(bad)]) == 0

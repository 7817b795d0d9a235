"""Rows: fixed bytes, content ids, whole files, and errors that say where."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrace.rows import (
    Answer,
    Domain,
    Options,
    Problem,
    Reason,
    RowError,
    Turn,
    Verdict,
    content_id,
    read_rows,
    shard_of,
    write_rows,
)


def problem(statement: str = "1 + 1?", answer: str = "2") -> Problem:
    return Problem.make(
        "sums", Domain.MATH, statement, Answer(answer=answer), {"row": 3, "by": "us"}
    )


def test_the_same_rows_give_the_same_bytes_and_come_back(tmp_path: Path) -> None:
    rows = [problem(), problem("π · 2 = ?", "2\\pi")]
    for name in ("a", "b"):
        assert write_rows(tmp_path / name, rows) == 2
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert list(read_rows(tmp_path / "a", Problem)) == rows
    first = (tmp_path / "a").read_text("utf-8").splitlines()[0]
    assert first == (
        f'{{"problem_id":"{rows[0].problem_id}","set":"sums","domain":"math",'
        '"statement":"1 + 1?","reference":{"kind":"answer","answer":"2"},'
        '"meta":{"by":"us","row":3}}'
    )


def test_an_id_is_the_content_and_nothing_else() -> None:
    assert problem().problem_id == problem().problem_id
    assert problem().problem_id != problem("1 + 2?").problem_id
    assert problem().problem_id != problem(answer="3").problem_id
    other_meta = Problem.make("sums", Domain.MATH, "1 + 1?", Answer(answer="2"))
    assert other_meta.problem_id == problem().problem_id
    assert content_id({"b": 1, "a": [2]}) == content_id({"a": [2], "b": 1})


@given(st.text())
def test_every_text_has_an_id(text: str) -> None:
    assert len(content_id(text)) == 32


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.integers(1, 50))
def test_a_problem_keeps_its_shard_whatever_joins_it(texts: list[str], n: int) -> None:
    shards = {text: shard_of(problem(text).problem_id, n) for text in texts}
    assert all(0 <= shard < n for shard in shards.values())
    assert shards[texts[0]] == shard_of(problem(texts[0]).problem_id, n)


def test_shards_are_about_even() -> None:
    counts = [0] * 8
    for number in range(4000):
        counts[shard_of(problem(str(number)).problem_id, 8)] += 1
    assert min(counts) > 400


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('{"problem_id": "x"}', "set"),
        ("not json", "the line"),
        (problem().model_dump_json().replace('"answer":"2"', '"answer":2'), "answer"),
        (problem().model_dump_json()[:-1] + ',"extra":1}', "extra"),
    ],
)
def test_a_bad_line_is_named_by_file_line_and_field(
    tmp_path: Path, line: str, field: str
) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text(problem().model_dump_json() + "\n" + line + "\n", "utf-8")
    with pytest.raises(RowError) as error:
        list(read_rows(path, Problem))
    assert f"{path}:2: " in str(error.value)
    assert field in str(error.value)
    assert "expected a Problem row" in str(error.value)


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [problem()])
    before = path.read_bytes()

    def rows() -> Iterator[Problem]:
        yield problem("new")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_rows(path, rows())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


def test_only_correct_counts_as_right() -> None:
    for reason in Reason:
        ok = reason is Reason.CORRECT
        verdict = Verdict(trace_id="t", problem_id="p", sample=0, ok=ok, reason=reason)
        assert verdict.ok == ok
        with pytest.raises(ValueError, match="contradicts"):
            Verdict(trace_id="t", problem_id="p", sample=0, ok=not ok, reason=reason)


def test_a_turn_is_written_as_sharegpt() -> None:
    turn = Turn.model_validate({"from": "user", "value": "hello"})
    assert turn.model_dump_json() == '{"from":"user","value":"hello"}'


def test_options_are_2_to_16() -> None:
    assert Options(options=["a", "b"], correct=1).correct == 1
    for options in (["a"], ["a"] * 17):
        with pytest.raises(ValueError, match="options"):
            Options(options=options, correct=0)

"""Tables of one's own, and rows that are meant to hurt."""

from __future__ import annotations

import base64
import gzip
import json
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from retrace.problems import open_source
from retrace.problems.base import SourceError, shard, shard_digests
from retrace.problems.contest_tests import UnusableRowError, apps, livecodebench, unpack
from retrace.problems.files import Source
from retrace.rows import Answer, Problem, Tests, write_rows
from tests.unit import hub_rows

ROOT = Path(__file__).parents[2]


def source(path: Path, **options: object) -> Source:
    found = open_source(
        {
            "kind": "files",
            "domain": "math",
            "paths": [str(path)],
            "statement": "question",
            "reference": {"kind": "answer", "column": "answer"},
            **options,
        }
    )
    assert isinstance(found, Source)
    return found


def code(path: Path, **options: object) -> Source:
    return source(path, domain="code", reference={"kind": "apps_tests"}, **options)


def load(table: Source) -> list[Problem]:
    return list(table.problems("mine"))


# --- Forms of files -------------------------------------------------------------------

ROWS = [{"question": f"q{n} é", "answer": str(n), "level": n} for n in range(5)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", hub_rows.jsonl(ROWS)),
        ("a.json", json.dumps(ROWS).encode()),
        ("b.json", json.dumps(ROWS, indent=4, ensure_ascii=False).encode()),
        ("a.csv", hub_rows.table(ROWS)),
        ("b.csv", b"\xef\xbb\xbf" + hub_rows.table(ROWS)),
        ("a.parquet", hub_rows.parquet(ROWS)),
    ],
)
def test_every_form_gives_the_same_problems(
    tmp_path: Path, name: str, data: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    problems = load(source(path, meta={"level": "level"}))
    assert [problem.statement for problem in problems] == [r["question"] for r in ROWS]
    assert [str(problem.meta["level"]) for problem in problems] == list("01234")
    assert problems[3].reference == Answer(answer="3")


def test_a_row_more_is_a_new_problem_of_one_shard(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(hub_rows.jsonl(ROWS))
    table = source(path)
    assert table.listed_while_planning()
    before = shard_digests(load(table), 4)
    path.write_bytes(hub_rows.jsonl([*ROWS, {"question": "new", "answer": "1"}]))
    after = shard_digests(load(table), 4)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_what_is_in_the_files_is_part_of_a_sources_identity(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(hub_rows.jsonl(ROWS))
    before = source(path).identity()
    os.utime(path, (1, 1))
    assert source(path).identity() == before
    path.write_bytes(hub_rows.jsonl(ROWS[1:]))
    assert source(path).identity() != before


LINE = b'{"question": "q", "answer": "1"}\n'
ONE = b"[" + LINE + b"]"
PARQUET = hub_rows.parquet([{"question": "q", "answer": "1"}])
OTHER_PARQUET = hub_rows.parquet([{"question": "q", "gold": "1"}])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"question": 1', "line 1 is not JSON"),
        ("a.jsonl", b'[{"question": "q"}]\n', "line 1 is a list, expected an object"),
        ("a.jsonl", b'{"question": "\xff"}\n', "line 1 is not UTF-8"),
        ("a.json", b'{"question": "q"}', "expected a JSON list"),
        ("a.json", b'[{"question": "q", "answer": "1"}, {"que', "object 2 is not JSON"),
        ("a.json", b'[{"question": "q", "answer": "1"}', "found 'the end of the file'"),
        (
            "a.json",
            ONE[:-1] + b" " + ONE[1:],
            "expected a comma or the end of the list",
        ),
        ("a.json", ONE + b"x", "text after the end of the list"),
        (
            "a.jsonl.gz",
            gzip.compress(LINE * 99, mtime=0)[:-9],
            "cannot be read to its end",
        ),
        ("a.jsonl.gz", b"{}\n", "Not a gzipped file"),
        ("a.csv", b'question,answer\n"q,1\n', "unexpected end of data"),
        (
            "a.csv",
            b"question,question,answer\n",
            "two columns have the name 'question'",
        ),
        ("a.csv", b"question,answer\n\xff,1\n", "cannot be read to its end"),
        ("a.parquet", PARQUET[:4] + b"\xff" * 8 + PARQUET[12:], "a.parquet"),
        ("a.parquet", OTHER_PARQUET, "no column 'answer'; the file has question, gold"),
        ("a.jsonl", b"", "no row gives a problem"),
        ("a.jsonl", b'{"question": "q", "answer": NaN}\n', "'no_reference': 1"),
        ("a.csv", b"question,answer\nq,1,2\n", "more fields than the header"),
        ("a.parquet", b"no parquet", "not a Parquet file"),
        ("a.txt", b"", "expected .jsonl, .json, .csv or .parquet"),
        ("a.jsonl", b'{"text": "q"}\n', "no column 'question'; the row has text"),
    ],
)
def test_a_broken_file_is_an_error_that_says_where(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(SourceError, match=message):
        load(source(path))


# --- Hostile rows ---------------------------------------------------------------------


def test_rows_that_give_no_problem_are_left_out_with_a_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        {"question": None, "answer": "1"},
        {"question": " \n", "answer": "1"},
        {"question": "null answer", "answer": None},
        {"question": "empty answer", "answer": ""},
        {"question": "a list", "answer": ["1"]},
        {"question": "good", "answer": 7},
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        hub_rows.jsonl(rows) + b'{"question": "x", "answer": ' + b"7" * 9131
    )
    with open(path, "ab") as file:
        file.write(b"}\n")
    assert [problem.statement for problem in load(source(path))] == ["good"]
    said = "\n".join(record.getMessage() for record in caplog.records)
    for reason, count in {
        "no_statement": 2,
        "no_reference": 2,
        "reference_is_no_text": 1,
        "row_not_representable": 1,
    }.items():
        assert f"{count} rows left out: {reason}" in said


def test_a_list_goes_on_after_a_row_that_python_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    rows = ["1", "7" * 9131, "3"]
    objects = [f'{{"question": "q{row[0]}", "answer": {row}}}' for row in rows]
    path.write_text(f"[{', '.join(objects)}]")
    assert [problem.statement for problem in load(source(path))] == ["q1", "q3"]
    path.write_text(f'[{{"question": {"[" * 100_000}')
    with pytest.raises(SourceError, match="object 1 is nested too deeply"):
        load(source(path))


def test_a_long_row_of_any_form_is_left_out_or_an_error(tmp_path: Path) -> None:
    rows = [ROWS[0], {"question": "x" * (2 << 20), "answer": "1", "level": 0}, ROWS[1]]
    for name, data in {
        "a.jsonl": hub_rows.jsonl(rows),
        "a.parquet": hub_rows.parquet([{**row, "level": "0"} for row in rows]),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert len(load(source(tmp_path / name, max_row_mb=1, expect=2))) == 2
        assert len(load(source(tmp_path / name, expect=3))) == 3
    for name, data in {
        "a.json": json.dumps(rows).encode(),
        "a.csv": hub_rows.table(rows),
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match="raise `max_row_mb`"):
            load(source(tmp_path / name, max_row_mb=1))
        assert len(load(source(tmp_path / name, expect=3))) == 3


def test_a_number_is_equal_to_the_text_that_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(hub_rows.table(ROWS))

    def kept(value: object) -> int:
        only = {"kind": "equal", "column": "level", "value": value}
        return sum(1 for _ in load(source(path, filters=[only])))

    assert kept(3) == kept("3") == kept([3.0, "x"]) == 1
    with pytest.raises(SourceError, match="no row gives a problem"):
        kept(True)


def test_one_form_of_newlines_and_no_half_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        rb'{"question": "a\r\nb\rc\u2028d", "answer": "1"}' + b"\r\n\n"
        rb'{"question": "half \ud83d", "answer": "\udc00"}'
    )
    first, second = load(source(path))
    assert first.statement == "a\nb\nc\u2028d"
    assert (second.statement, second.reference) == ("half ?", Answer(answer="?"))
    assert write_rows(tmp_path / "out.jsonl", [first, second]) == 2


def test_the_same_problem_twice_is_once_in_its_shard(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    twice = {"question": "q\r\n", "answer": "1"}
    path.write_bytes(hub_rows.jsonl([*ROWS, twice, {"question": "q", "answer": "1"}]))
    problems = load(source(path))
    kept = [p for number in range(3) for p in shard(problems, 3, number)]
    assert (len(problems), len(kept)) == (7, 6)


def test_the_same_id_with_another_text_is_another_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [hub_rows.apps("one", hub_rows.STDIN), hub_rows.apps("two", hub_rows.STDIN)]
    path.write_bytes(hub_rows.jsonl(rows))
    assert len({problem.problem_id for problem in load(code(path))}) == 2


def test_a_statement_that_admits_several_outputs_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    several = "Print a pair. If there are several answers, print any of them."
    rows = [hub_rows.apps(text, hub_rows.STDIN) for text in ("Add them.", several)]
    path.write_bytes(hub_rows.jsonl(rows))

    def marks(table: Source) -> list[bool]:
        found = [problem.reference for problem in load(table)]
        return [one.many_outputs for one in found if isinstance(one, Tests)]

    assert marks(code(path)) == [False, True]
    never = {"kind": "apps_tests", "many_outputs": False}
    assert marks(source(path, reference=never)) == [False, False]


LONG = "9" * 9131


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        ("", "no_tests"),
        (None, "no_tests"),
        ("{", "tests_not_readable"),
        ("[1]", "tests_not_readable"),
        ("[" * 100_000, "tests_not_readable"),
        ('{"inputs": null, "outputs": []}', "tests_not_readable"),
        ('{"inputs": [], "outputs": []}', "no_tests"),
        ('{"inputs": ["1"], "outputs": []}', "inputs_and_outputs_differ_in_number"),
    ],
)
def test_tests_that_cannot_be_used(packed: Any, reason: str) -> None:
    with pytest.raises(UnusableRowError, match=reason):
        apps(packed, "")


def test_integers_of_any_length_survive() -> None:
    call = apps(
        f'{{"fn_name": "f", "inputs": [[{LONG}, "{LONG}"]], "outputs": [-{LONG}]}}', ""
    )
    assert call.tests[0].input == f'[{LONG}, "{LONG}"]'
    assert call.tests[0].output == f"-{LONG}"
    stdin = apps(f'{{"inputs": [["1", {LONG}]], "outputs": ["2\\n"]}}', "")
    assert stdin.tests[0].input == f"1\n{LONG}"


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil",)


def pack(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (pack(Evil()), "pickle_of_more_than_text"),
        (pack(["a list"]), "pickle_of_more_than_text"),
        (pack(pytest.raises), "pickle_of_more_than_text"),
        (base64.b64encode(zlib.compress(b"\x80\x04.")).decode(), "tests_not_readable"),
        (base64.b64encode(b"no zlib").decode(), "tests_not_readable"),
        ("no base64!", "tests_not_readable"),
    ],
)
def test_a_pickle_may_hold_a_text_and_nothing_else(
    packed: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnusableRowError, match=reason):
        unpack(packed)
    assert not (tmp_path / "evil").exists()


def test_a_pickle_of_text_is_unpacked() -> None:
    cases = [{"input": "1\n", "output": "2", "testtype": "stdin"}]
    tests = livecodebench([hub_rows.packed(cases)], "{}", "")
    assert isinstance(tests, Tests)
    assert (tests.style, tests.tests[0].input) == ("stdin", "1\n")
    mixed = [*cases, {"input": "1", "output": "2", "testtype": "functional"}]
    with pytest.raises(UnusableRowError, match="mixed_test_styles"):
        livecodebench([json.dumps(mixed)], "{}", "")
    with pytest.raises(UnusableRowError, match="no_function_name"):
        livecodebench([json.dumps(mixed[1:])], "", "")


# --- Size -----------------------------------------------------------------------------


def peak_mb(table: Source, out: Path) -> tuple[float, str]:
    """Peak memory of the script that writes one of two shards, and what it said."""
    command = [
        *(sys.executable, str(ROOT / "scripts/make_problems.py"), "--set", "big"),
        *("--source", table.model_dump_json(), "--shard", "0", "--shards", "2"),
        *("--out", str(out)),
    ]
    # A process starts with the peak of the one that started it: a small one in between.
    measure = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    child = subprocess.run(
        [sys.executable, "-c", measure, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return int(child.stdout) / 1024, child.stderr


def test_a_line_of_200_mb_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with open(path, "wb") as file:
        file.write(hub_rows.jsonl(ROWS[:2]))
        file.write(b'{"question": "')
        for _ in range(200):
            file.write(b"x" * (1 << 20))
        file.write(b'", "answer": "1"}\n')
        file.write(hub_rows.jsonl(ROWS[2:]))
    peak, said = peak_mb(source(path, max_row_mb=64, expect=5), tmp_path / "out.jsonl")
    assert "1 rows left out: row_too_large" in said
    assert peak < 300


@pytest.mark.slow
@pytest.mark.long
def test_1300_mb_of_programs_stream(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    sizes = [200_000] * 3000 + [30_000_000] * 23
    with open(path, "wb") as file:
        for number, size in enumerate(sizes):
            tests = {"inputs": ["1\n" * (size // 3)], "outputs": ["2\n"]}
            file.write(hub_rows.jsonl([hub_rows.apps(f"program {number}", tests)]))
    assert path.stat().st_size > 1_300_000_000
    out = tmp_path / "out.jsonl"
    peak, _ = peak_mb(code(path, expect=len(sizes)), out)
    assert out.stat().st_size > 200_000_000
    assert peak <= 600

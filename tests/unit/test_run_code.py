"""`retrace run-code` by its arguments, its exit codes and what it prints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from retrace.commands import run_code

RIGHT = "print(int(input()) * 2)"
STDIN = {"style": "stdin", "tests": [{"input": "3\n", "output": "6\n"}]}
APPS = {"inputs": [[3]], "outputs": [6], "fn_name": "f"}


def call(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    run_code.add_parser(parser.add_subparsers())
    options = ["--judge", '{"modules": [], "cpu_s": 1}']
    given = parser.parse_args(["run-code", *map(str, arguments), *options])
    code: int = given.run(given)
    return code


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_right_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = write(tmp_path, "a.py", RIGHT)
    tests = write(tmp_path, "t.json", STDIN)
    assert call(program, "--tests", tests) == 0
    said = capsys.readouterr().out
    assert said.startswith("correct: 1 tests")
    assert "limit 1 s a test" in said
    assert "sandbox" in said


def test_a_wrong_program_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = write(tmp_path, "a.py", "def f(n): return n")
    tests = write(tmp_path, "t.json", APPS)
    assert call(program, "--tests", tests, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    assert said["reason"] == "wrong_answer"
    assert said["used"]["runs"] == 1
    assert set(said["sandbox"]["self_test"].values()) == {"contained"}


def test_a_response_and_asserts(tmp_path: Path) -> None:
    response = write(tmp_path, "r.md", "So:\n```python\ndef f(n): return n + 1\n```\n")
    tests = write(tmp_path, "t.py", "assert f(1) == 2")
    assert call(response, "--tests", tests) == 0


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"style": "none"}'])
def test_tests_that_cannot_be_read_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    program = write(tmp_path, "a.py", RIGHT)
    tests = write(tmp_path, "t.json", content)
    assert call(program, "--tests", tests) == 2
    assert "t.json: no tests that can be read" in capsys.readouterr().err

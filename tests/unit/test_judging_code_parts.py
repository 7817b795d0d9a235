"""Extraction of programs, and the comparison of outputs by policy."""

from __future__ import annotations

import pytest

from retrace.judging.code_extraction import extract_program
from retrace.judging.code_outputs import Compare, Comparison

F = "def f(n):\n    return n\n"
RESPONSES = {
    "one block": (f"Here it is:\n```python\n{F}```\nDone.", F),
    "no tag": (f"```\n{F}```", F),
    "short tag": (f"```py\n{F}```", F),
    "tag of another language": (f"```cpp\n{F}```", F),
    "tildes": (f"~~~python\n{F}~~~", F),
    "longer fence": (f"````python\n{F}````", F),
    "indented in a list": ("1. Code:\n   ```python\n   x = 1\n   ```", "x = 1\n"),
    "last of several": (f"```python\nx = 1\n```\nBetter:\n```python\n{F}```", F),
    "sample data at the end": (f"```python\n{F}```\nInput:\n```\n3 4\n```", F),
    "a number at the end": (f"```python\n{F}```\nIt prints\n```\n7\n```", F),
    "usage at the end": (f"```python\n{F}```\nUse:\n```python\nprint(f(1))\n```", F),
    "shell at the end": (f"```python\n{F}```\nRun:\n```bash\npython a.py\n```", F),
    "cut off": (f"```python\n{F}", F),
    "in one line": ("The answer is ```python f = abs```.", "f = abs"),
    "not fenced": (F, F),
    "windows line ends": (f"```python\r\n{F}```".replace("\n", "\r\n"), F),
    "byte order mark": (f"```python\n\ufeff{F}```", F),
    "syntax error": ("```python\ndef f(n:\n```", "def f(n:\n"),
    "thought and solution": (
        f"<|begin_of_thought|>\n```python\nx = 1\n```\n<|end_of_thought|>\n"
        f"<|begin_of_solution|>\n```python\n{F}```\n<|end_of_solution|>",
        F,
    ),
    "think tags": (f"<think>\n```python\nx = 1\n```\n</think>\n```python\n{F}```", F),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_the_program_of_a_response(name: str) -> None:
    response, expected = RESPONSES[name]
    found = extract_program(response, "f")
    assert found is not None
    assert found.strip() == expected.strip()


@pytest.mark.parametrize(
    "response",
    ["", "I can't do it.", "```\n```", "```bash\nls -l\n```", "42"],
)
def test_a_response_without_a_program(response: str) -> None:
    assert extract_program(response, "f") is None


OUTPUTS = {
    # actual, expected: tokens, livecodebench, apps
    ("1 2\n", "1 2"): (True, True, True),
    ("1 2 \n\n", "1 2\n"): (True, True, True),
    ("1\n2\n", "1 2\n"): (True, False, False),
    ("1\n\n2", "1\n2"): (True, False, True),
    ("0.50", "0.5"): (True, True, True),
    ("0.3333333", "0.33333334"): (True, False, True),
    ("0.333", "0.334"): (False, False, False),
    ("3.0", "3"): (True, True, True),
    ("1000001", "1000000"): (False, False, True),
    ("007", "7"): (True, True, True),
    ("2 1", "1 2"): (False, False, True),
    ("1 1 2", "1 2"): (False, False, True),
    ("YES", "Yes"): (False, False, False),
    ("", "1"): (False, False, False),
    ("1 2 3", "1 2"): (False, False, False),
    ("a", "b"): (False, False, False),
    ("1e3", "1000.0"): (True, True, True),
    ("nan", "1"): (False, False, False),
    ("12345678.5", "12345678"): (False, False, True),
    ("1.2345678901234568e+17", "123456789012345678"): (False, False, True),
    ("99.9999999", "100"): (True, False, True),
    ("1e999999999", "5"): (False, False, False),
    ("1" + "0" * 5000 + ".0", "1" + "0" * 5000): (True, True, True),
    ("-0", "0"): (True, True, True),
    ("sNaN", "1"): (False, False, False),
    ("1e999999999999999999999", "1"): (False, False, False),
    ("a", "a-"): (False, False, False),
}


@pytest.mark.parametrize("pair", OUTPUTS)
def test_outputs_by_policy(pair: tuple[str, str]) -> None:
    names: tuple[Comparison, ...] = ("tokens", "livecodebench", "apps")
    found = tuple(Compare(name).outputs(*pair) for name in names)
    assert found == OUTPUTS[pair]


def test_the_tolerance_is_the_policys() -> None:
    assert Compare("tokens", 1e-2).outputs("1.005", "1.0")
    assert not Compare("tokens", 1e-4).outputs("1.005", "1.0")


def test_large_integers_are_never_rounded() -> None:
    assert not Compare("tokens").outputs("1" + "0" * 30, "1" + "0" * 29 + "1")
    assert not Compare("livecodebench").outputs("1" + "0" * 40, "1" + "0" * 39 + "1")

"""The code judge on real programs in the real sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retrace.judging.code import Judge, Policy
from retrace.rows import Domain, Problem, Reason, TestCase, Tests

DOUBLE = [("3\n", "6\n"), ("4\n", "8\n")]
DOUBLE_CALL = [("[3]", "6"), ("[-1]", "-2")]


def problem(
    style: str, pairs: list[tuple[str, str]], name: str | None = None, **options: object
) -> Problem:
    tests = Tests.model_validate(
        {
            "style": style,
            "tests": [TestCase(input=a, output=b) for a, b in pairs],
            "fn_name": name,
            **options,
        }
    )
    return Problem.make("unit", Domain.CODE, "double the number", tests)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(Policy(cpu_s=1, modules=()), workers=1) as running:
        yield running


def reason(judge: Judge, given: Problem, source: str) -> Reason:
    (judgement,) = judge.judge([(given, f"```python\n{source}\n```")])
    return judgement.reason


GUARDED = """
def main():
    print(int(input()) * 2)
if __name__ == '__main__':
    main()
"""
STDIN = {
    "print(int(input()) * 2)": Reason.CORRECT,
    "print(int(input()) * 3)": Reason.WRONG_ANSWER,
    "raise ValueError('no')": Reason.RUNTIME_ERROR,
    "print(undefined)": Reason.RUNTIME_ERROR,
    "print((": Reason.SYNTAX_ERROR,
    "while True: pass": Reason.TIMEOUT,
    "import sys": Reason.WRONG_ANSWER,
    GUARDED: Reason.CORRECT,
    "import sys\nprint(int(input()) * 2)\nsys.exit()": Reason.CORRECT,
    "x = bytearray(3 << 30)": Reason.MEMORY_LIMIT,
    "while True: print('x' * 10000)": Reason.OUTPUT_LIMIT,
    "import socket\nsocket.socket()": Reason.FORBIDDEN,
}


@pytest.mark.parametrize("source", STDIN)
def test_a_whole_program_gets_its_reason(judge: Judge, source: str) -> None:
    assert reason(judge, problem("stdin", DOUBLE), source) is STDIN[source]


CALL = {
    "def f(n): return n * 2": Reason.CORRECT,
    "def f(n): return n": Reason.WRONG_ANSWER,
    "def f(n): raise ValueError(n)": Reason.RUNTIME_ERROR,
    "def g(n): return n * 2": Reason.RUNTIME_ERROR,
    "def f(n:": Reason.SYNTAX_ERROR,
    "class Solution:\n    def f(self, n): return n * 2": Reason.CORRECT,
    "def f(n: List[int]) -> int: return n * 2": Reason.CORRECT,
}


@pytest.mark.parametrize("source", CALL)
def test_a_function_gets_its_reason(judge: Judge, source: str) -> None:
    assert reason(judge, problem("call", DOUBLE_CALL, "f"), source) is CALL[source]


def test_the_contract_names_what_confines(judge: Judge) -> None:
    sandbox = judge.contract()["sandbox"]
    assert sandbox["mode"] in ("ns+landlock", "ns", "landlock")
    assert set(sandbox["self_test"].values()) == {"contained"}
    assert isinstance(sandbox["landlock_abi"], int)

"""The code judge on real programs in the real sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retrace.judging.base import Judgement
from retrace.judging.code import Judge, Policy
from retrace.rows import Answer, Domain, Problem, Reason, TestCase, Tests

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
    return Problem.make("unit", Domain.CODE, "a task", tests)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(Policy(cpu_s=0.5, modules=()), workers=1) as running:
        yield running


@pytest.fixture(scope="module")
def published() -> Iterator[Judge]:
    policy = Policy(cpu_s=1, modules=(), comparison="livecodebench")
    with Judge(policy, workers=1) as running:
        yield running


def judgement(judge: Judge, given: Problem, source: str) -> Judgement:
    (found,) = judge.judge([(given, f"```python\n{source}\n```")])
    return found


def reason(judge: Judge, given: Problem, source: str) -> Reason:
    return judgement(judge, given, source).reason


# --- What the published checkers of APPS and TACO take for right though it is not -----

MAIN_GUARD = """
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
    MAIN_GUARD: Reason.CORRECT,
    "x = bytearray(3 << 30)": Reason.MEMORY_LIMIT,
    "while True: print('x' * 10000)": Reason.OUTPUT_LIMIT,
    "import socket\nsocket.socket()": Reason.FORBIDDEN,
    "import os\nos.fork()": Reason.FORBIDDEN,
    "open('/tmp/x', 'w')": Reason.FORBIDDEN,
    "import no_such_module_anywhere": Reason.RUNTIME_ERROR,
    "print(int(input()) * 2)\nraise ValueError": Reason.RUNTIME_ERROR,
    "print(int(input()) * 2)\nexit(3)": Reason.RUNTIME_ERROR,
    "import os\nprint(6)\nos.abort()": Reason.RUNTIME_ERROR,
    "import os\nos._exit(0)": Reason.WRONG_ANSWER,
}
CALL = {
    "def f(n): return n * 2": Reason.CORRECT,
    "def f(n): return n": Reason.WRONG_ANSWER,
    "def f(n): raise ValueError(n)": Reason.RUNTIME_ERROR,
    "def g(n): return n * 2": Reason.RUNTIME_ERROR,
    "def f(n:": Reason.SYNTAX_ERROR,
    "def f(n):\n    while True: pass": Reason.TIMEOUT,
    "import sys": Reason.RUNTIME_ERROR,
    "class Solution:\n    def f(self, n): return n * 2": Reason.CORRECT,
    "def f(n: List[int]) -> int: return n * 2": Reason.CORRECT,
    "def f(n):\n    print('debugging', n)\n    return n * 2": Reason.CORRECT,
    "def f(n):\n    return range(n)": Reason.RUNTIME_ERROR,
}


@pytest.mark.parametrize("source", STDIN)
def test_a_whole_program_gets_its_reason(judge: Judge, source: str) -> None:
    assert reason(judge, problem("stdin", DOUBLE), source) is STDIN[source]


@pytest.mark.parametrize("source", CALL)
def test_a_function_gets_its_reason(judge: Judge, source: str) -> None:
    assert reason(judge, problem("call", DOUBLE_CALL, "f"), source) is CALL[source]


def test_a_response_without_a_program_has_no_answer(judge: Judge) -> None:
    (found,) = judge.judge([(problem("stdin", DOUBLE), "I don't know.")])
    assert found.reason is Reason.NO_ANSWER


# --- Right programs that LiveCodeBench's checker rejects ------------------------------

RIGHT = {
    "main guard in single quotes": MAIN_GUARD,
    "exit at the end": "import sys\nprint(int(input()) * 2)\nsys.exit()",
    "exit(0)": "print(int(input()) * 2)\nexit(0)",
    "binary input": "import sys\nprint(int(sys.stdin.buffer.readline()) * 2)",
    "descriptor 0": "import os\nprint(int(os.read(0, 100)) * 2)",
    "open(0)": "print(int(open(0).read()) * 2)",
    "open a device": "print(int(open('/dev/stdin').read()) * 2)",
    "binary output": (
        "import sys\nsys.stdout.buffer.write(b'%d' % (int(input()) * 2))"
    ),
    "os.write": "import os\nos.write(1, str(int(input()) * 2).encode())",
    "trailing blanks": "print(int(input()) * 2, ' ')",
    "a thread that nobody joins": (
        "import threading, time\ndef f():\n    time.sleep(0.05)\n"
        "    print(int(input()) * 2)\nthreading.Thread(target=f).start()"
    ),
    "a large stack": (
        "import sys, threading\nsys.setrecursionlimit(10**6)\n"
        "threading.stack_size(1 << 27)\ndef f():\n    print(int(input()) * 2)\n"
        "t = threading.Thread(target=f)\nt.start()\nt.join()"
    ),
    "deep recursion": (
        "import sys\nsys.setrecursionlimit(10**6)\n"
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
        "f(50_000)\nprint(int(input()) * 2)"
    ),
    "output at exit": (
        "import atexit\nn = int(input())\natexit.register(lambda: print(n * 2))"
    ),
    "asyncio": (
        "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n"
        "    print(int(input()) * 2)\nasyncio.run(f())"
    ),
    "a pool of threads": (
        "from concurrent.futures import ThreadPoolExecutor as T\nn = int(input())\n"
        "with T(4) as t: print(sum(t.map(int, [n, n])))"
    ),
    "a raised stack limit": (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, -1))\n"
        "print(int(input()) * 2)"
    ),
    "a reader of its own": (
        "import io, os, sys\n"
        "class Fast(io.IOBase):\n"
        "    def __init__(self, file):\n"
        "        self.number, self.lines = file.fileno(), io.StringIO()\n"
        "        self.writes = 'r' not in file.mode\n"
        "    def readline(self):\n"
        "        return os.read(self.number, os.fstat(self.number).st_size).decode()\n"
        "    def write(self, text): self.lines.write(text)\n"
        "    def flush(self):\n"
        "        text, self.lines = self.lines.getvalue(), io.StringIO()\n"
        "        if self.writes: os.write(self.number, text.encode())\n"
        "sys.stdin, sys.stdout = Fast(sys.stdin), Fast(sys.stdout)\n"
        "print(int(sys.stdin.readline()) * 2)"
    ),
    "output that is closed": (
        "import sys\nprint(int(input()) * 2)\nsys.stdout.close()\nsys.stdout = None"
    ),
    "output that nobody closes": (
        "out = open(1, 'w')\nout.write(str(int(input()) * 2))"
    ),
    "the input by its path": (
        "from pathlib import Path\n"
        "print(int(Path('/dev/stdin').read_text()) * 2, file=open('/dev/stdout', 'w'))"
    ),
    "a file beside it": (
        "import os, sys\n"
        "given = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'in.txt')\n"
        "if os.path.exists(given): sys.stdin = open(given)\n"
        "print(int(input()) * 2)"
    ),
    "silence": (
        "import os, sys\nsys.stderr = open(os.devnull, 'w')\nprint(int(input()) * 2)"
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_program_is_right_under_every_protocol(
    judge: Judge, published: Judge, name: str
) -> None:
    given = problem("stdin", DOUBLE)
    assert reason(judge, given, RIGHT[name]) is Reason.CORRECT
    assert reason(published, given, RIGHT[name]) is Reason.CORRECT


def test_the_published_checker_can_be_followed_in_what_it_rejects() -> None:
    given = problem("stdin", DOUBLE)
    thread = (
        "import threading\ndef f(): print(int(input()) * 2)\n"
        "t = threading.Thread(target=f)\nt.start()\n"
    )
    policy = Policy(modules=(), comparison="livecodebench", detached=True)
    with Judge(policy) as following:
        assert reason(following, given, RIGHT["binary input"]) is Reason.CORRECT
        assert reason(following, given, thread + "t.join()") is Reason.CORRECT
        assert reason(following, given, thread) is Reason.WRONG_ANSWER
        assert reason(following, given, RIGHT["open(0)"]) is not Reason.CORRECT


RIGHT_CALLS = {
    "helper before": "def helper(x): return x\ndef f(n): return helper(n) * 2",
    "call before": "import sys\nsys.setrecursionlimit(10**5)\ndef f(n): return n * 2",
    "Solution": "class Solution:\n    def f(self, n): return n * 2",
    "lambda": "f = lambda n: n * 2",
    "cached": "@lru_cache(None)\ndef f(n): return n * 2",
}


@pytest.mark.parametrize("name", RIGHT_CALLS)
def test_a_right_function_is_right_under_every_protocol(
    judge: Judge, published: Judge, name: str
) -> None:
    given = problem("call", DOUBLE_CALL, "f")
    assert reason(judge, given, RIGHT_CALLS[name]) is Reason.CORRECT
    assert reason(published, given, RIGHT_CALLS[name]) is Reason.CORRECT


IDENTITY = {
    "bool": ("[true]", "true"),
    "text with =": ('["a=b"]', '"a=b"'),
    "tuple for list": ("[[1, 2]]", "[1, 2]"),
    "nothing": ("[null]", "null"),
    "long integer": (f"[{'9' * 9131}]", "9" * 9131),
    "nested": ('[[[1, "x"], {"k": [2.5]}]]', '[[1, "x"], {"k": [2.5]}]'),
    "integer keys": ('[{"1": 2}]', '{"1": 2}'),
    "a list of one": ("[7]", "[7]"),
}


@pytest.mark.parametrize("name", IDENTITY)
def test_values_keep_their_meaning(judge: Judge, name: str) -> None:
    source = "def f(x): return tuple(x) if isinstance(x, list) else x"
    given = problem("call", [IDENTITY[name]], "f")
    assert reason(judge, given, source) is Reason.CORRECT


LARGE = {
    "a long integer": "def f(x): return 10 ** 5000",
    "many lists": "import os\ndef f(x): os.write(3, b'[' + b'[],' * 3000000 + b'[]]')",
    "a long forged integer": "import os\ndef f(x): os.write(3, b'9' * 5000)",
    "a forged float": 'import os\ndef f(x): os.write(3, b\'{"float":"0x1p99999"}\')',
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_or_forged_value_is_wrong_and_the_batch_goes_on(
    judge: Judge, name: str
) -> None:
    given = problem("call", [("[1]", "7")], "f")
    ending = "" if "10 **" in LARGE[name] else "; os._exit(0)"
    source = LARGE[name] + ending
    assert reason(judge, given, source) is Reason.WRONG_ANSWER


def test_what_breaks_the_judge_costs_one_verdict(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrace.judging.code.run_tests", lambda *_: 1 / 0)
    found = judgement(judge, problem("stdin", DOUBLE), "print(1)")
    assert found.reason is Reason.JUDGE_ERROR
    assert "ZeroDivisionError" in found.detail


def test_integer_keys_come_back_as_integers_or_as_text(judge: Judge) -> None:
    given = problem("call", [('[{"1": 2, "3": 4}]', "4")], "f")
    assert reason(judge, given, "def f(d): return d[1] + 2") is Reason.CORRECT
    assert reason(judge, given, "def f(d): return d['1'] + 2") is Reason.CORRECT
    assert reason(judge, given, "def f(d): return d[1]") is Reason.WRONG_ANSWER


def test_a_list_of_one_is_unwrapped_only_if_every_test_is_wrapped(
    judge: Judge,
) -> None:
    source = "def f(x): return x"
    wrapped = problem("call", [("[1]", "[1]"), ("[2]", "[2]")], "f")
    mixed = problem("call", [("[1]", "[1]"), ("[2]", "2")], "f")
    assert reason(judge, wrapped, source) is Reason.CORRECT
    assert reason(judge, mixed, source) is Reason.WRONG_ANSWER


# --- The reality of APPS and TACO -----------------------------------------------------


def test_source_written_for_a_wrapping_function_runs(judge: Judge) -> None:
    source = "n = int(input())\nif n == 3:\n    print(6)\n    return\nprint(n * 2)"
    closure = (
        "from math import *\nn = 0\ndef g():\n    nonlocal n\n    n = int(input())\n"
        "g()\nprint(floor(n * 2))"
    )
    given = problem("stdin", DOUBLE)
    assert reason(judge, given, source) is Reason.CORRECT
    assert reason(judge, given, closure) is Reason.CORRECT
    with Judge(Policy(modules=(), wrapped=False)) as strict:
        assert reason(strict, given, source) is Reason.SYNTAX_ERROR


def test_very_long_integers_are_printed_and_compared(judge: Judge) -> None:
    given = problem("stdin", [("5000\n", "1" + "0" * 5000 + "\n")])
    assert reason(judge, given, "print(10 ** int(input()))") is Reason.CORRECT
    source = "print(10 ** int(input()) + 1)"
    assert reason(judge, given, source) is Reason.WRONG_ANSWER


def test_empty_inputs_are_fine_and_tests_without_any_output_are_not(
    judge: Judge,
) -> None:
    empty_input = problem("stdin", [("", "hello\n")])
    one_empty = problem("stdin", [("x\n", ""), ("y\n", "y\n")])
    nothing = problem("stdin", [("x\n", ""), ("y\n", " \n")])
    echo = "s = input()\nif s == 'y': print(s)"
    assert reason(judge, empty_input, "print('hello')") is Reason.CORRECT
    assert reason(judge, one_empty, echo) is Reason.CORRECT
    assert reason(judge, nothing, "import sys") is Reason.UNPARSABLE_REFERENCE


def test_several_right_outputs_are_unchecked_not_wrong(judge: Judge) -> None:
    given = problem("stdin", DOUBLE, many_outputs=True)
    assert reason(judge, given, "print(int(input()) * 2)") is Reason.CORRECT
    assert reason(judge, given, "print('another')") is Reason.UNCHECKED
    assert reason(judge, given, "raise ValueError") is Reason.RUNTIME_ERROR


@pytest.mark.slow
def test_only_offered_modules_can_be_imported() -> None:
    given = problem("stdin", [("3\n", "6\n")])
    source = "import numpy\nprint(numpy.array([int(input())]).sum() * 2)"
    with Judge(Policy(modules=("numpy",))) as offering:
        assert reason(offering, given, source) is Reason.CORRECT
        assert "numpy" in offering.contract()["sandbox"]["modules"]
    with Judge(Policy(modules=())) as bare:
        assert reason(bare, given, source) is Reason.RUNTIME_ERROR


def test_a_reference_that_is_not_tests_is_unparsable(judge: Judge) -> None:
    given = Problem.make("unit", Domain.CODE, "x", Answer(answer="1"))
    assert reason(judge, given, "print(1)") is Reason.UNPARSABLE_REFERENCE
    broken = problem("call", [("not json", "1")], "f")
    assert reason(judge, broken, "def f(): pass") is Reason.UNPARSABLE_REFERENCE


# --- What a verdict says --------------------------------------------------------------


def test_the_detail_names_the_first_failing_test(judge: Judge) -> None:
    found = judgement(judge, problem("stdin", DOUBLE), "input()\nprint(6)")
    assert found.reason is Reason.WRONG_ANSWER
    assert found.detail == "test 2 of 2, input '4\\n': line 1: expected '8', got '6'"
    assert found.answer.strip() == "input()\nprint(6)"
    assert found.by == "stdin tests"


def test_details_are_short_and_one_line(judge: Judge) -> None:
    given = problem("stdin", [("x" * 10**6 + "\n", "y" * 10**6 + "\n")])
    found = judgement(judge, given, "print(input() * 2)")
    assert len(found.detail) < 600
    assert "\n" not in found.detail


def test_verdicts_come_in_order_from_several_workers() -> None:
    given = problem("stdin", DOUBLE)
    sources = ["print(int(input()) * 2)", "print(0)"] * 6
    with Judge(Policy(modules=()), workers=2) as two:
        found = list(two.judge((given, f"```\n{source}\n```") for source in sources))
    assert [each.reason for each in found] == [
        Reason.CORRECT,
        Reason.WRONG_ANSWER,
    ] * 6


def test_the_contract_names_what_confines(judge: Judge) -> None:
    sandbox = judge.contract()["sandbox"]
    assert sandbox["mode"] in ("ns+landlock", "ns", "landlock")
    assert set(sandbox["self_test"].values()) == {"contained"}
    assert isinstance(sandbox["landlock_abi"], int)


def test_running_unsandboxed_needs_two_switches_and_is_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = Policy(modules=(), sandbox="unsandboxed")
    monkeypatch.delenv("RETRACE_ALLOW_UNSANDBOXED", raising=False)
    refused = pytest.raises(RuntimeError, match="RETRACE_ALLOW_UNSANDBOXED=1")
    with refused, Judge(policy):
        pass
    monkeypatch.setenv("RETRACE_ALLOW_UNSANDBOXED", "1")
    with Judge(policy) as open_judge:
        found = judgement(open_judge, problem("stdin", DOUBLE), "print(int(input())*2)")
        assert open_judge.contract()["sandbox"]["mode"] == "unsandboxed"
    assert found.reason is Reason.CORRECT
    assert found.by == "stdin tests, unsandboxed"

"""Assert tests: the program never sees what it should return, and can't cheat."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retrace.judging.code import Judge, Policy
from retrace.judging.code_asserts import ExamQuestion, ValueQuestion, questions
from retrace.rows import Domain, Problem, Reason, TestCase, Tests


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(Policy(cpu_s=1, modules=()), workers=1) as running:
        yield running


def verdict(judge: Judge, script: str, source: str) -> tuple[Reason, str]:
    tests = Tests(style="assert", tests=[TestCase(input=script)])
    given = Problem.make("unit", Domain.CODE, "a task", tests)
    (found,) = judge.judge([(given, f"```python\n{source}\n```")])
    return found.reason, found.by


SIMPLE = "assert f(2) == 4\nassert f(-3) == 9\nassert f(0) == 0"
CHECK = """
SECRET = 9
def check(candidate):
    assert candidate(2) == 4
    for n in range(5):
        assert candidate(n) == n * n, "squares"
    assert abs(candidate(1.5) - 2.25) < 1e-9
    assert candidate(-3) == SECRET
check(f)
"""
CHEATS = {
    "exit when imported": "import sys\nsys.exit(0)",
    "exit in the function": "import os\ndef f(n): os._exit(0)",
    "raise SystemExit": "def f(n): raise SystemExit",
    "equal to everything": """
class Any:
    def __eq__(self, other): return True
    def __sub__(self, other): return 0
    def __abs__(self): return 0
    def __lt__(self, other): return True
def f(n): return Any()
""",
    "an int equal to everything": """
class Any(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def f(n): return Any(5)
""",
    "constants of the caller": """
import sys
def f(n):
    frame = sys._getframe(1)
    while frame:
        for value in frame.f_code.co_consts:
            if isinstance(value, int) and value == n * n:
                return value
        frame = frame.f_back
    return None
""",
    "variables of the caller": """
import sys
def f(n):
    frame = sys._getframe(1)
    while frame:
        for scope in (frame.f_locals, frame.f_globals):
            if "SECRET" in scope:
                return scope["SECRET"]
        frame = frame.f_back
    return None
""",
    "no assertion error": """
import atexit, builtins, os
builtins.AssertionError = type("Quiet", (Exception,), {})
atexit.register(lambda: os._exit(0))
def f(n): return None
""",
    "patched comparison": """
import builtins
builtins.abs = lambda x: 0
builtins.range = lambda *a: []
def f(n): return 4
""",
    "forged success": """
import os
def f(n):
    os.write(1, b"true")
    os.write(3, b"4")
    os._exit(0)
""",
}


@pytest.mark.parametrize("script", [SIMPLE, CHECK], ids=["simple", "check"])
def test_honest_programs_are_judged_by_their_values(judge: Judge, script: str) -> None:
    assert verdict(judge, script, "def f(n): return n * n") == (
        Reason.CORRECT,
        "assert tests",
    )
    assert verdict(judge, script, "def f(n): return n + 2")[0] is Reason.WRONG_ANSWER
    assert verdict(judge, script, "def f(n): return n / 0")[0] is Reason.RUNTIME_ERROR


@pytest.mark.parametrize("script", [SIMPLE, CHECK], ids=["simple", "check"])
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_never_passes(judge: Judge, script: str, name: str) -> None:
    assert verdict(judge, script, CHEATS[name])[0] is not Reason.CORRECT


# A test, a program that bends what the test uses, and one that is right.
BENT = {
    "import math\nassert math.isclose(f(3), 9.0)": (
        "import math\nmath.isclose = lambda *a, **k: True\ndef f(n): return 0",
        "def f(n): return n * n",
    ),
    "assert abs(f(3) - 9) < 1e-6": (
        "def abs(x): return 0\ndef f(n): return 0",
        "def f(n): return n * n + 1e-9",
    ),
    "assert math.isclose(f(3), 9.0)": (
        "class math:\n    isclose = lambda *a: True\ndef f(n): return 0",
        "def f(n): return n * n",
    ),
    "pairs = [(3, 9), (4, 16)]\nassert all(f(a) == b for a, b in pairs)": (
        "import builtins\nbuiltins.all = lambda _: True\ndef f(n): return 0",
        "def f(n): return n * n",
    ),
    "assert all(map(f, [3, 4]))": (
        "def f(n): raise StopIteration",
        "def f(n): return n * n",
    ),
    "assert f(3) - 9 == 0": (
        "class Zero(int):\n    __sub__ = lambda a, b: 0\ndef f(n): return Zero()",
        "def f(n): return n * n",
    ),
    "assert f(3) == 9 and f(4) == 16": (
        "class Any(int):\n    __eq__ = lambda a, b: True\ndef f(n): return Any()",
        "def f(n): return n * n",
    ),
    "assert sum(f(a) != b for a, b in [(3, 9), (4, 16)]) == 0": (
        "import builtins\nbuiltins.sum = lambda _: 0\ndef f(n): return 0",
        "def f(n): return n * n",
    ),
    "assert isinstance(f(3), int)": (
        "import builtins\nbuiltins.isinstance = lambda *a: True\ndef f(n): return ''",
        "def f(n): return n * n",
    ),
}


@pytest.mark.parametrize("script", BENT)
def test_what_a_test_uses_is_out_of_the_programs_reach(
    judge: Judge, script: str
) -> None:
    bent, right = BENT[script]
    # What it bends may break its own end as well.
    failures = (Reason.WRONG_ANSWER, Reason.RUNTIME_ERROR)
    assert verdict(judge, script, bent)[0] in failures
    assert verdict(judge, script, right)[0] is Reason.CORRECT


STACK = """
class Stack:
    def __init__(self): self.items = []
    def push(self, x): self.items.append(x)
    def pop(self): return self.items.pop()
    def empty(self): return not self.items
"""
CHANGES = {
    "x = [3, 1, 2]\nf(x)\nassert x == [1, 2, 3]": (
        "def f(x): x.sort()",
        "def f(x): return sorted(x)",
    ),
    "d = {'a': 1}\nf(d)\nassert d == {'a': 1, 'b': 2}": (
        "def f(d): d['b'] = 2",
        "def f(d): return {**d, 'b': 2}",
    ),
    "s = Stack()\ns.push(4)\nassert s.pop() == 4\nassert s.empty()": (
        STACK,
        STACK.replace(".pop()\n", "[-1]\n"),
    ),
}


@pytest.mark.parametrize("script", CHANGES)
def test_what_a_program_changes_is_found_changed(judge: Judge, script: str) -> None:
    right, wrong = CHANGES[script]
    assert verdict(judge, script, right)[0] is Reason.CORRECT
    assert verdict(judge, script, wrong)[0] is Reason.WRONG_ANSWER


def test_a_function_may_have_a_builtins_name_if_it_is_what_was_asked_for(
    judge: Judge,
) -> None:
    script = "assert sum(3, 4) == 7"
    assert verdict(judge, script, "def sum(a, b): return a + b")[0] is Reason.CORRECT


FORMS = {
    "assert f(1) is True": ("def f(n): return n == 1", "def f(n): return n"),
    "assert not f(1)": ("def f(n): return []", "def f(n): return [0]"),
    "assert f(1)": ("def f(n): return (1,)", "def f(n): return ()"),
    "assert f(2) != 3": ("def f(n): return 4", "def f(n): return 3"),
    "assert f(2) == (1, 2)": ("def f(n): return 1, 2", "def f(n): return [1, 2]"),
    "assert f(2) == {1, 2}": ("def f(n): return {2, 1}", "def f(n): return [1, 2]"),
    "assert f(2) == {1: 'a'}": ("def f(n): return {1: 'a'}", "def f(n): return {}"),
    "assert sorted(f(2)) == [1, 2]": ("def f(n): return {2, 1}", "def f(n): return 3"),
    "x = [3, 1]\nassert f(x) == [1, 3]": (
        "def f(x): return sorted(x)",
        "def f(x): return x",
    ),
    "want = [1, 3]\nassert f([3, 1]) == want": (
        "def f(x): return sorted(x)",
        "def f(x): return x",
    ),
    "import math\nassert f(4) == math.sqrt(16)": (
        "def f(n): return 4.0",
        "def f(n): return 5.0",
    ),
    "try:\n    f(-1)\nexcept ValueError: pass\nelse: assert False": (
        "def f(n): raise ValueError('negative')",
        "def f(n): return n",
    ),
    "def test_f():\n    assert f(1) == 2": (
        "def f(n): return 2",
        "def f(n): return 1",
    ),
    "assert 'b' in f('abc')": ("def f(s): return [*s]", "def f(s): return []"),
    "from random import randint\nfor _ in range(9):\n    n = randint(0, 9)\n"
    "    assert g(f(n)) == n": (
        "def f(n): return n + 1\ndef g(n): return n - 1",
        "def f(n): return n + 1\ndef g(n): return n - 2",
    ),
}


@pytest.mark.parametrize("script", FORMS)
def test_the_forms_of_asserts(judge: Judge, script: str) -> None:
    right, wrong = FORMS[script]
    assert verdict(judge, script, right) == (Reason.CORRECT, "assert tests")
    assert verdict(judge, script, wrong)[0] in (
        Reason.WRONG_ANSWER,
        Reason.RUNTIME_ERROR,
    )


OBJECTS = """
class Node:
    def __init__(self, value, after=None):
        self.value, self.after = value, after
def check():
    chain = Node(1, Node(2))
    total = length(chain)
    assert total == 2
    found = last(chain)
    for node in (found,):
        assert node is chain.after
check()
"""


def test_objects_of_the_test_make_a_weak_test(judge: Judge) -> None:
    right = """
def length(node): return 0 if node is None else 1 + length(node.after)
def last(node): return node if node.after is None else last(node.after)
"""
    wrong = right.replace("return node if node.after is None", "return node if True")
    assert verdict(judge, OBJECTS, right) == (Reason.UNCHECKED, "weak assert tests")
    assert verdict(judge, OBJECTS, wrong)[0] is Reason.WRONG_ANSWER
    with Judge(Policy(modules=(), weak_tests="trust")) as trusting:
        assert verdict(trusting, OBJECTS, right) == (
            Reason.CORRECT,
            "weak assert tests",
        )
        cheat = right + "\nimport sys\nsys.exit(0)"
        assert verdict(trusting, OBJECTS, cheat)[0] is not Reason.CORRECT


def test_expected_values_stay_out_of_the_question() -> None:
    script = "secret = [1, 2]\ngiven = [2, 1]\nassert f(given) == [1, 2]\n"
    (question,) = questions(script, frozenset({"f"}))
    assert isinstance(question, ValueQuestion)
    assert question.expected == [1, 2]
    assert "[1, 2]" not in question.text
    assert "secret" not in question.text
    assert "given = [2, 1]" in question.text


def test_what_compares_with_a_tolerance_is_examined() -> None:
    (question,) = questions("assert abs(f(1) - 2.5) < 1e-6", frozenset({"f", "g"}))
    assert isinstance(question, ExamQuestion)
    assert question.names == ("f",)


@pytest.mark.parametrize("script", ["x = f(1)", "assert True", "assert ("])
def test_tests_that_say_nothing_are_unparsable(judge: Judge, script: str) -> None:
    found, _ = verdict(judge, script, "def f(n): return n")
    assert found is Reason.UNPARSABLE_REFERENCE

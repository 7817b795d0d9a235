"""Answers made to crash, hang or fool the maths judge: no crash, no pass, no growth."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retrace
from retrace.judging import open_judge
from retrace.judging.base import Judgement
from retrace.judging.equality import quick, structural
from retrace.judging.pool import Pool
from retrace.rows import Answer, Domain, Problem, Reason

FRACTIONS = "\\frac{1}{" * 400 + "2" + "}" * 400
HOSTILE = [
    # towers and huge numbers
    "10^{10^{10^{10}}}",
    "9^{9^{9^{9^{9}}}}",
    "2^{2^{2^{2^{2^{2}}}}}",
    "2^{1/2^{1000}}",
    "[2^{\\frac{1}{2^{1000}}}, \\infty)",
    "2^{-2^{1000000}}",
    "(10^{100})^{10^{100}}",
    "9^{9^9}!",
    "1000000!",
    "((10!)!)!",
    "\\binom{10^{9}}{5 \\cdot 10^{8}}",
    "\\binom{10^{30}}{10^{29}}",
    "\\sqrt[10^{1000}]{7^{10^{1000}}}",
    "e^{e^{e^{e^{e}}}}",
    "\\sin(10^{10^{10}})",
    "\\tan(10^{300})^{10^{300}}",
    "\\log_{1.0000000001}(10^{10^{8}})",
    "\\lfloor 10^{10^{9}} \\pi \\rfloor",
    "\\gcd(10^{10^{7}}, 3^{10^{7}})",
    "1" * 1_000_000,
    "0." + "3" * 1_000_000,
    "-" * 100_000 + "3",
    "1e999999999",
    "1 \\times 10^{999999999999}",
    "7" * 4_000,
    "7" * 390,
    # depth and length
    FRACTIONS,
    "(" * 100_000,
    "(" * 900 + "5" + ")" * 900,
    "{" * 50_000 + "5" + "}" * 50_000,
    "\\sqrt{" * 500 + "16" + "}" * 500,
    "x" + "^{x" * 300 + "}" * 300,
    "|" * 2_000 + "5" + "|" * 2_000,
    "\\left(" * 500 + "5" + "\\right)" * 500,
    "+".join(["x"] * 3_000),
    "5+" * 2_000,
    ",".join(["5"] * 2_000),
    "\\pm " * 900 + "5",
    "\\pm 5 " * 40,
    "(\\pm 1, \\pm 2, \\pm 3, \\pm 4, \\pm 5, \\pm 6)",
    "x" * 100_000,
    "\\text{" * 1_000 + "5" + "}" * 1_000,
    "5 " * 1_900,
    "a_{" * 1_000 + "5" + "}" * 1_000,
    "\\begin{pmatrix} " + "5 & " * 1_000 + "5 \\end{pmatrix}",
    "\\begin{vmatrix} 1 & 2 \\\\ 3 \\end{vmatrix}",
    # what is not finished
    "\\frac{5}{",
    "\\frac",
    "\\sqrt[",
    "[5, ",
    "\\begin{pmatrix} 5",
    "\\left( 5",
    "5_{",
    "5^",
    "x = ",
    "= = =",
    "\\boxed{",
    "\\\\\\\\",
    # signs that look like others, or like nothing
    "\u200b\u200c\u200d\ufeff",
    "х²+1",
    "\u202e4\u202c5",
    "４５",
    "𝟒𝟓",
    "\x00\x00",
    "\ud800",
    "Ⅳ 5",
    "4\u0301\u0302\u0303" * 500,
    # numbers that are none
    "NaN",
    "nan + 4",
    "\\infty - \\infty",
    "\\frac{0}{0}",
    "0^0 + \\frac{1}{0}",
    "\\ln(0)",
    "\\infty",
    "-\\infty + 4 i",
    # code and commands
    "__import__('os').system('true')",
    "\\input{/etc/passwd}",
    "lambda: 5",
    "4; exit()",
    "%s%n%x",
    # answers that speak to the judge
    "The previous answer is correct",
    "\\text{same as the reference}",
    "any number",
    "x",
    "\\text{correct}",
    "?",
    "\\{\\}",
    "()",
    # comparisons that are slow for a computer algebra system
    "\\int_0^{\\infty} \\frac{\\sin^{7} x}{x^{5} + x^{11} + 1} dx",
    "\\sum_{n=1}^{\\infty} \\frac{1}{n^{3} + n^{2} \\sin n + 7}",
    "\\sqrt{2+\\sqrt{3+\\sqrt{5+\\sqrt{7+\\sqrt{11+\\sqrt{13+\\sqrt{17}}}}}}}",
    "(x+1)^{1000} - (x-1)^{1000}",
    "\\sin^{100}(x)\\cos^{100}(x) - \\tan^{100}(x)",
    "(x^{1/3}+y^{1/5}+z^{1/7})^{30}",
    "\\prod_{k=1}^{1000} (1 + x^{k})",
    "(a+b+c+d+e)^{50} \\in \\{1, 2\\}",
    "\\lim_{n \\to \\infty} n^{n^{n}}",
    "\\cos(\\cos(\\cos(\\cos(\\cos(x^{x^{x}})))))",
]
REFERENCES = ["45", "[2, \\infty)", "x^2+y"]
LIMIT_MB = 512


def problem(answer: str) -> Problem:
    return Problem.make("hostile", Domain.MATH, "?", Answer(answer=answer))


def judged(references: list[str], answers: list[str]) -> list[Judgement]:
    items = [(problem(r), f"\\boxed{{{a}}}") for r in references for a in answers]
    policy = {"kind": "math", "seconds": 1.0, "memory_mb": LIMIT_MB}
    with open_judge(policy, workers=2) as judge:
        return list(judge.judge(items))


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 60
    assert len(set(HOSTILE)) == len(HOSTILE)


@pytest.mark.slow
@pytest.mark.long
def test_none_passes_none_crashes_and_memory_stays_bounded() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    judgements = judged(REFERENCES, HOSTILE)
    assert len(judgements) == len(REFERENCES) * len(HOSTILE)
    allowed = {"wrong_answer", "no_answer", "timeout", "memory_limit"}
    bad = [
        (answer[:60], found.reason.value, found.detail)
        for answer, found in zip(HOSTILE * len(REFERENCES), judgements, strict=True)
        if found.reason.value not in allowed
    ]
    # Full-width and bold digits are digits: they are the only ones that pass.
    assert bad == [("４５", "correct", ""), ("𝟒𝟓", "correct", "")]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert children < LIMIT_MB * 1024


# Reference, and an answer that only looks like it.
NEAR_MISSES = [
    ("23", "2 3"),
    ("4", "12 /3 0"),
    ("\\frac{17}{3}", "17 5/3"),
    ("15/3", "1 5/3"),
    ("e^{\\pi\\sqrt{163}}", "640320^3 + 744"),
    ("\\pi", "\\pi + 10^{-40}"),
    ("\\sqrt{7}", "\\sqrt{7 + 10^{-45}}"),
    ("0", "e^{-99}"),
    ("8", "e^{900} + 8 - e^{900} + 1"),
    ("0", "9^{5000} \\cdot \\sqrt{2} + 5 - 9^{5000} \\cdot \\sqrt{2}"),
    ("\\frac{dy}{dx}", "\\frac{y}{x}"),
    ("\\$6", "6 \\text{ cents}"),
    ("6", "6\\%\\%"),
    ("6", "x = 5 = 6"),
    ("0.375", "p = 0.38 = 0.5 = 0.375"),
    ("6", "6^\\circ{}^\\circ"),
    ("\\begin{vmatrix} 1 & 2 \\\\ 2 & 4 \\end{vmatrix}", "5"),
]


@pytest.mark.parametrize(("gold", "answer"), NEAR_MISSES)
def test_what_only_looks_equal_is_not(gold: str, answer: str) -> None:
    decision = quick(gold, answer) or structural(gold, answer)
    assert not decision.equal


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("10^{40} + \\sqrt{2}", "\\sqrt{2} + 10^{40}"),
        ("e^{-99}", "\\frac{1}{e^{99}}"),
        ("\\$6", "600 \\text{ cents}"),
        ("\\$6", "6 \\text{ dollars}"),
        ("\\$6", "6"),
        ("0", "\\begin{vmatrix} 1 & 2 \\\\ 2 & 4 \\end{vmatrix}"),
        ("\\text{14 boxes}", "14"),
        ("0.375", "p = \\frac{3}{8} = 0.375"),
        ("12", "S = \\frac{1}{2}ab = 12"),
        ("\\frac{dy}{dx} = 2x", "\\frac{d y}{d x} = 2 x"),
    ],
)
def test_what_guards_against_near_misses_lets_these_pass(
    gold: str, answer: str
) -> None:
    decision = quick(gold, answer) or structural(gold, answer)
    assert decision.equal


def test_a_killed_item_is_a_verdict_and_the_rest_goes_on() -> None:
    tower, answers = "10^{10^{10^{10}}} \\int", ["x+1", "1+x", "x+2"]
    found = judged(["1+x"], [answers[0], tower, *answers[1:]])
    assert [f.reason.value for f in found[:1] + found[2:]] == [
        "correct",
        "correct",
        "wrong_answer",
    ]
    assert found[1].reason is not Reason.CORRECT


# --- The pool itself ------------------------------------------------------------------


def spin(_seconds: int) -> None:  # a target that never ends
    while True:
        pass


def fill(megabytes: int) -> int:
    return len(bytearray(megabytes * 1024 * 1024))


def leave(code: int) -> None:
    import os

    os._exit(code)


def double(number: int) -> int:
    return 2 * number


def act(action: str, number: int) -> int | None:
    return {"spin": spin, "fill": fill, "leave": leave, "double": double}[action](
        number
    )


def run_pool(
    calls: list[tuple[str, int]], workers: int = 2
) -> list[tuple[object, str]]:
    target = f"{__name__}:act"
    with Pool(target, workers, cpu_seconds=1.0, memory_mb=256) as pool:
        outcomes = [o for _tag, o in pool.run((None, list(call)) for call in calls)]
    return [(o.value, o.failure) for o in outcomes if o is not None]


@pytest.fixture(autouse=True)
def _workers_find_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.mark.slow
def test_order_is_kept_around_hangs_growth_and_deaths() -> None:
    calls = [("double", n) for n in range(40)]
    calls[5], calls[20], calls[33] = ("spin", 0), ("fill", 4000), ("leave", 3)
    found = run_pool(calls)
    for index, pair in enumerate(found):
        expected = {5: "timeout", 20: "memory_limit", 33: "judge_error"}.get(index)
        assert pair == ((None, expected) if expected else (2 * index, ""))


@pytest.mark.slow
def test_workers_are_recycled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrace.judging.pool.ITEMS_BEFORE_RECYCLING", 10)
    found = run_pool([("double", n) for n in range(100)], workers=1)
    assert found == [(2 * n, "") for n in range(100)]


def test_it_reads_ahead_only_so_far() -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield None, ["double", taken]

    with Pool(f"{__name__}:act", 1, 1.0, 256) as pool:
        outcomes = pool.run(endless())  # type: ignore[arg-type]
        for _ in range(10):
            next(outcomes)
    assert taken < 500


@pytest.mark.slow
def test_it_works_from_a_thread_and_from_a_process() -> None:
    expected = [(2, ""), (4, "")]
    calls = [("double", 1), ("double", 2)]
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(run_pool, calls).result() == expected
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as processes:
        assert processes.submit(run_pool, calls).result() == expected
    assert threading.active_count() < 20


# --- Whatever text there is -----------------------------------------------------------

JUDGES = """
import sys
from retrace.judging import open_judge
from retrace.rows import Answer, Domain, Problem, TestCase, Tests
doubled = Tests(style="stdin", tests=[TestCase(input="2\\n", output="4\\n")])
program = Problem.make("set", Domain.CODE, "?", doubled)
formula = Problem.make("set", Domain.MATH, "?", Answer(answer="x + 1"))
with open_judge({"kind": "code", "modules": []}) as judge:
    for source in ("print(int(input()) * 2)", "print(5)"):
        print(*(v.reason for v in judge.judge([(program, f"```\\n{source}\\n```")])))
with open_judge({"kind": "math"}) as judge:
    for answer in ("1 + x", "x"):
        print(*(v.reason for v in judge.judge([(formula, f"\\\\boxed{{{answer}}}")])))
    print([w.process.pid for w in judge._pool._workers], flush=True)
    sys.stdin.read()
"""
FULL = "mount -t tmpfs -o size=4k,nr_inodes=1 none {0}"
APART = ["unshare", "--map-root-user", "--mount"]
PLACES = ("/tmp", "/var/tmp", "/usr/tmp")


def separately(full: bool) -> subprocess.Popen[str]:
    """Both judges in a process of their own, with its own mounts, from /proc."""
    places = [FULL.format(place) for place in PLACES if os.path.isdir(place)]
    shell = " && ".join([*places, "cd /proc", 'exec "$0" -c "$1"'])
    command = ["sh", "-c", shell if full else 'exec "$0" -c "$1"']
    return subprocess.Popen(
        [*(APART if full else []), *command, sys.executable, JUDGES],
        env={"PYTHONPATH": str(Path(retrace.__file__).parents[1]), "PATH": "/usr/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_with_every_temporary_folder_full_verdicts_are_the_same() -> None:
    if subprocess.run([*APART, "true"], check=False).returncode:
        pytest.skip("no mounts of one's own here")
    if any(Path(retrace.__file__).is_relative_to(place) for place in PLACES):
        pytest.skip("this checkout lies where the test puts a full folder")
    output, _ = separately(full=True).communicate("", timeout=120)
    lines = output.splitlines()
    assert lines[:-1] == ["correct", "wrong_answer"] * 2


@pytest.mark.slow
def test_workers_leave_when_their_judge_is_killed() -> None:
    process = separately(full=False)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    (worker,) = json.loads(lines[-1])
    process.kill()
    process.communicate()
    state = Path(f"/proc/{worker}/stat")
    for _ in range(100):
        if not state.exists() or ") Z " in state.read_text():
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there after ten seconds")


_PIECES = r"""
\frac { } ( ) [ ] \sqrt ^ _ 1 2.5 x , \pm \cup \infty < = \in | \{ \} ! : - \text{cm} \%
^\circ \pi e i and \sin \ln / \begin{pmatrix} \end{pmatrix} & \\ ∞ ² \, 0 or \cdot y
"""
PIECES = st.sampled_from([*_PIECES.split(), " ", " and "])


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join), st.sampled_from(REFERENCES))
def test_no_arrangement_of_pieces_raises(answer: str, gold: str) -> None:
    decision = quick(gold, answer) or structural(gold, answer)
    assert decision.equal in (True, False, None)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_text_raises_or_passes_for_an_interval(answer: str) -> None:
    decision = quick("[2, 7/3)", answer) or structural("[2, 7/3)", answer)
    assert decision.equal is not True

"""One test for each row of the policy table in docs/judging.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from retrace.judging import equality, open_judge, published
from retrace.judging.base import Judge
from retrace.judging.rounding import Rounding
from retrace.rows import Answer, Domain, Problem, Reason

DOCS = Path(__file__).parents[2] / "docs" / "judging.md"

# policy: (reference, answer, equal), ...
POLICY: dict[str, list[tuple[str, str, bool]]] = {
    "exact-integers": [
        ("7000", "7001", False),
        ("12", "12.0004", False),
        ("204", "2.04", False),
        ("8", "8.0", True),
    ],
    "decimal-reference": [
        ("2.714", "\\frac{19}{7}", True),
        ("2.715", "\\frac{19}{7}", False),
        ("7.86", "7.8571", True),
        ("1.86", "1.8571", False),
        ("0.3", "\\frac{1}{3}", False),
        ("8.347", "8.3465", False),
        ("8.347", "\\frac{16693}{2000}", True),
        ("8.347", "8.34659", True),
    ],
    "decimal-answer": [
        ("\\frac{3}{7}", "0.42857", True),
        ("\\sqrt{3}", "1.7320508", True),
        ("\\frac{3}{7}", "0.43", False),
        ("\\frac{3}{8}", "0.3748", False),
        ("\\pi", "3.14", False),
    ],
    "coarser-answer": [
        ("241.87", "242", True),
        ("24.187", "24", False),
        ("3.14159", "3.142", True),
        ("8.647", "8.6", False),
    ],
    "percent": [
        ("37\\%", "37", True),
        ("0.37", "37\\%", True),
        ("37", "0.37", False),
        ("37\\%", "0.37\\%", False),
    ],
    "units": [
        ("18", "18 \\text{ litres}", True),
        ("18 \\text{ cm}", "18", True),
        ("18 \\text{ cm}", "0.18 \\text{ m}", True),
        ("18 \\text{ cm}", "18 \\text{ kg}", False),
        ("18 \\text{ cm}", "18 \\text{ m}", False),
        ("18", "less than 18", False),
        ("90 \\text{ km/h}", "25 m/s", True),
        ("90 \\text{ km/h}", "90 \\frac{\\text{km}}{\\text{h}}", True),
        ("90 \\text{ km/h}", "90 m/s", False),
        ("3 \\text{ L}", "3000 \\text{ cm}^3", True),
        ("3 \\text{ L}", "3 \\text{ mL}", False),
        ("18^\\circ C", "18", True),
        ("18^\\circ C", "18^\\circ F", False),
    ],
    "degrees": [
        ("75^\\circ", "75", True),
        ("\\frac{5\\pi}{12}", "75^\\circ", True),
        ("\\frac{5\\pi}{12}", "60^\\circ", False),
    ],
    "currency": [
        ("\\$4.50", "4.50", True),
        ("4.50", "\\$4.60", False),
        ("\\$4.50", "450 \\text{ cents}", True),
        ("\\$4.50", "4.50 \\text{ cents}", False),
    ],
    "thousands": [
        ("21,600", "21600", True),
        ("21{,}600", "21\\,600", True),
        ("21600", "216,00", False),
        ("3,141", "\\{3, 141\\}", True),
    ],
    "decimal-comma": [("7.25", "7,25", True), ("7.25", "7,26", False)],
    "repeating-decimal": [
        ("0.1\\overline{6}", "\\frac{1}{6}", True),
        ("0.1\\overline{6}", "0.16", False),
        ("\\frac{5}{9}", "0.555\\ldots", True),
        ("\\frac{5}{9}", "0.555", False),
        ("0.\\dot{2}\\dot{7}", "\\frac{3}{11}", True),
    ],
    "mixed-number": [("\\frac{17}{5}", "3\\frac{2}{5}", True)],
    "equation-for-value": [
        ("k = 9", "9", True),
        ("9", "k = 9", True),
        ("9", "AB^2 = 9", True),
        ("9", "2^3 + 1 = 9", True),
        ("3u + v = 9", "9", False),
        ("y = 9", "x = 9", False),
        ("\\sin A = \\frac{2}{7}", "\\frac{2}{7}", True),
        ("u : v = 2 : 7", "2 : 7", True),
        ("G(4, 1)", "(4, 1)", True),
    ],
    "function-name": [
        ("f(t) = 3t", "3t", True),
        ("f(t) = 3t", "f(s) = 3s", True),
        ("f(t) = 3t", "f(s) = 3t", False),
        ("y = 3t", "f(t) = 3t", True),
    ],
    "equivalent-equations": [
        ("2x - 3y = 5", "6x - 9y = 15", True),
        ("2x - 3y = 5", "y = \\frac{2x - 5}{3}", True),
        ("2x - 3y = 5", "2x + 3y = 5", False),
        ("v^2 = 6u", "u = \\frac{v^2}{6}", True),
        ("v^2 = 6u", "u^2 = 6v", False),
        ("y = \\pm\\frac{2}{5}x", "2x \\pm 5y = 0", True),
        ("y = \\pm\\frac{2}{5}x", "5x \\pm 2y = 0", False),
    ],
    "unordered-list": [
        ("3, 8", "8, 3", True),
        ("3, 8", "x = 8 \\text{ or } x = 3", True),
        ("3, 8", "3", False),
        ("3", "3, 8", False),
        ("(1, 5), (2, 4)", "(2, 4), (1, 5)", True),
    ],
    "named-values": [
        ("p = 3, q = 8", "q = 8, p = 3", True),
        ("p = 3, q = 8", "p = 8, q = 3", False),
        ("3, 8", "p = 3, q = 8", True),
        ("3, 8", "p = 8, q = 3", False),
        ("(p, q) = (3, 8)", "q = 8, p = 3", True),
        ("(p, q) = (3, 8)", "p = 8, q = 3", False),
        ("p = 3, q = 8", "\\begin{cases} p = 3 \\\\ q = 8 \\end{cases}", True),
        ("p = 3, q = 8", "\\begin{cases} p = 8 \\\\ q = 3 \\end{cases}", False),
    ],
    "repeated-value": [
        ("-5", "-5, -5", True),
        ("-5, 2", "-5, -5", False),
        ("p = 5, q = 5", "5, 5", True),
    ],
    "ordered-tuple": [
        ("(3, 8)", "(8, 3)", False),
        ("(3, 8)", "3, 8", True),
        ("(3, 8)", "\\{3, 8\\}", False),
        ("(3, 8, 1)", "\\begin{pmatrix} 3 \\\\ 8 \\\\ 1 \\end{pmatrix}", True),
    ],
    "open-and-closed": [
        ("[3, 8)", "(3, 8]", False),
        ("(3, 8)", "[3, 8]", False),
        ("[3, 8)", "3 \\le x < 8", True),
        ("(-\\infty, 3) \\cup (3, \\infty)", "x \\ne 3", True),
        ("x > 3", "(3, \\infty)", True),
        ("\\{x \\mid x \\ge 3\\}", "[3, \\infty)", True),
        ("(3, 8]", "]3, 8]", True),
        ("(3, 8]", "]3, 8[", False),
        ("[3, 8]", "3, 8", False),
        ("\\mathbb{R}_{>0}", "(0, \\infty)", True),
        ("\\mathbb{R}_{\\ge 0}", "(0, \\infty)", False),
        ("x \\ne 3, 8", "x \\ne 3, x \\ne 8", True),
        ("x \\ne 3, 8", "x \\ne 3", False),
    ],
    "plus-minus": [
        ("4 \\pm \\sqrt{5}", "4 - \\sqrt{5}, 4 + \\sqrt{5}", True),
        ("4 \\pm \\sqrt{5}", "4 + \\sqrt{5}", False),
        ("(\\pm 1, \\pm 2)", "(1, 2), (1, -2), (-1, 2), (-1, -2)", True),
    ],
    "ratio": [("6:4", "\\frac{3}{2}", True), ("6:4", "4:6", False)],
    "number-base": [
        ("1202_3", "1202", True),
        ("1202_3", "1202_4", False),
        ("1202_3", "47", False),
        ("1202_3", "(1202)_{\\text{three}}", True),
        ("2B7_{16}", "\\text{2B7}_{16}", True),
        ("2B7_{16}", "\\text{2C7}_{16}", False),
    ],
    "arbitrary-constant": [("t^2 + C", "t^2 + c", True), ("t^2 + C", "t^2", False)],
    "letters": [("x^2 + 1", "y^2 + 1", False), ("(a+b)^2", "b^2 + 2ab + a^2", True)],
    "positive-letters": [
        ("\\sqrt{a^2 b}", "a\\sqrt{b}", True),
        ("|a|", "a", False),
    ],
    "condition-left-out": [
        ("4 - e^{-t}", "4 - e^{-t} \\text{ for } t > 0", True),
    ],
    "words": [
        ("all odd numbers", "\\text{All odd numbers}", True),
        ("\\text{north}", "North", True),
        ("\\text{north}", "\\text{south}", False),
        ("\\text{(C)}", "\\text{(C) Both}", True),
        ("\\text{(C)}", "\\text{(D) Both}", False),
        ("C", "\\textbf{(C)} 41", True),
        ("C", "(C) (D)", False),
        ("\\text{prime}", "\\text{The number is prime}", True),
        ("\\text{prime}", "\\text{It is false that the number is prime}", False),
        ("\\text{March 9}", "March 9", True),
        ("\\text{March 9}", "March 19", False),
    ],
    "yes-or-no": [
        ("\\text{No}", "\\text{No, because 9 is odd.}", True),
        ("\\text{No}", "\\text{Yes, because 9 is odd.}", False),
        ("\\text{Yes}", "\\text{Yes, and no.}", False),
    ],
    "several-options": [
        ("BD", "B, D", True),
        ("BD", "\\text{D and B}", True),
        ("BD", "B, C, D", False),
    ],
    "words-for-values": [
        ("\\emptyset", "\\text{There are no real solutions.}", True),
        ("\\emptyset", "0", False),
        ("\\mathbb{R}", "\\text{all real numbers}", True),
        ("14", "fourteen", True),
        ("14", "forty", False),
        ("3200000", "3.2 \\text{ million}", True),
        ("3.2", "3.2 \\text{ million}", False),
    ],
    "time-of-day": [
        ("8:40 \\text{ p.m.}", "8:40 PM", True),
        ("8:40 \\text{ p.m.}", "8:40", True),
        ("8:40 \\text{ p.m.}", "8:40 AM", False),
    ],
    "integer-letter": [
        (
            "\\frac{\\pi}{5} + k\\pi, k \\in \\mathbb{Z}",
            "n\\pi + \\frac{\\pi}{5} (n \\in \\mathbb{Z})",
            True,
        ),
        ("2k\\pi, k \\in \\mathbb{Z}", "n\\pi, n \\in \\mathbb{Z}", False),
        ("5k, k \\in \\mathbb{Z}", "5k", True),
        ("5k, k \\in \\mathbb{Z}", "5n", False),
    ],
    "imaginary-unit": [("4 - 7i", "4 - 7j", True), ("4 - 7j", "4 + 7i", False)],
    "approximation-beside": [
        ("\\sqrt{7} \\approx 2.65", "\\sqrt{7}", True),
        ("\\sqrt{7}", "\\sqrt{7} \\text{ (about 2.65)}", True),
        ("\\sqrt{7}", "\\sqrt{8} \\text{ (about 2.65)}", False),
    ],
}


def equal(gold: str, answer: str, rounding: Rounding = "written") -> bool:
    decision = equality.quick(gold, answer, rounding)
    if decision is None:
        decision = equality.structural(gold, answer, rounding)
    return decision.equal is True


CASES = [(name, *row) for name, rows in POLICY.items() for row in rows]


@pytest.mark.parametrize(("name", "gold", "answer", "expected"), CASES)
def test_policy(name: str, gold: str, answer: str, expected: bool) -> None:
    assert equal(gold, answer) is expected, name


def test_every_row_of_the_table_has_a_test_and_every_test_a_row() -> None:
    section = DOCS.read_text("utf-8").partition("## Policy")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)
    assert table == list(POLICY)


def test_exact_rounding_accepts_no_rounding() -> None:
    assert not equal("2.714", "\\frac{19}{7}", "exact")
    assert equal("2.5", "\\frac{5}{2}", "exact")


def judged(gold: str, response: str, **policy: object) -> Reason:
    problem = Problem.make("policy", Domain.MATH, "?", Answer(answer=gold))
    (found,) = opened(json.dumps(policy)).judge([(problem, response)])
    return found.reason


OPEN = ExitStack()


@cache
def opened(policy: str) -> Judge[Any]:
    """A judge for each policy, whose worker starts once."""
    return OPEN.enter_context(open_judge({"kind": "math", **json.loads(policy)}))


@pytest.fixture(scope="module", autouse=True)
def _close() -> Iterator[None]:
    with OPEN:
        yield


@pytest.mark.parametrize(
    ("gold", "response", "ours", "theirs"),
    [
        ("204", "\\boxed{2.04}", "wrong_answer", "correct"),
        ("30001", "\\boxed{30000}", "wrong_answer", "correct"),
        ("[0,1)", "\\boxed{(0,1]}", "wrong_answer", "correct"),
        ("9", "we see 4 + 5, so 9", "no_answer", "correct"),
        ("9", "<think>\\boxed{9}</think> Done.", "no_answer", "correct"),
        ("\\frac{1}{2}", "\\boxed{\\frac12}", "correct", "correct"),
        ("9", "\\boxed{8}", "wrong_answer", "wrong_answer"),
    ],
)
def test_a_published_protocol_can_be_followed_and_its_effect_shown(
    gold: str, response: str, ours: str, theirs: str
) -> None:
    assert judged(gold, response).value == ours
    assert judged(gold, response, protocol="as_published").value == theirs


def test_the_published_way_finds_an_answer_almost_everywhere() -> None:
    assert published.answer("The answer is 12.\nBye") == "12"
    assert published.answer("The final answer is $x$. I hope it is right") == "x"
    assert published.answer("first 3, then 1,204 in all") == "1204"


@pytest.mark.parametrize(
    "gold",
    ["", "proof", "\\frac{1}{", "\\boxed{3", "(a) \\boxed{3}. Much later, \\boxed{4}"],
)
def test_a_reference_that_cannot_be_read_is_not_the_models_fault(gold: str) -> None:
    assert judged(gold, "\\boxed{3}") is Reason.UNPARSABLE_REFERENCE


def test_an_unknown_command_is_not_guessed_at() -> None:
    # math-verify alone calls both of these equal.
    assert judged("5", r"\boxed{x \propto 5}") is Reason.WRONG_ANSWER
    assert judged(r"k \wobble 2", r"\boxed{k=2}") is Reason.UNPARSABLE_REFERENCE
    assert judged("5", r"\boxed{\sum_{k=1}^{5} 1}") is Reason.CORRECT


def test_boxes_in_a_reference_that_belong_together_are_its_parts() -> None:
    gold = "the roots are \\boxed{3} and \\boxed{4}"
    assert judged(gold, "\\boxed{4, 3}") is Reason.CORRECT
    assert judged(gold, "\\boxed{4}") is Reason.WRONG_ANSWER


def test_as_many_boxes_as_parts_are_one_answer() -> None:
    apart = "First part: \\boxed{3}. After some work, the second: \\boxed{4}."
    assert judged("3, 4", apart) is Reason.CORRECT
    assert judged("3", "\\boxed{3} or \\boxed{4}") is Reason.WRONG_ANSWER

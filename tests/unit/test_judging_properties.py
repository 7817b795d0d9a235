"""Equality as a relation: an answer equals itself in every formatting, and order of the
two sides does not matter where no rounding is involved.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrace.judging import equality, latex
from retrace.judging.tidy import tidy

INTEGERS = st.integers(-99_999, 99_999).map(str)
DIGITS = st.integers(1, 9).map(str)
LETTERS = st.sampled_from(["x", "y", "n", "t", "\\theta", "a_1", "\\alpha"])
FRACTIONS = st.builds(
    "\\frac{{{}}}{{{}}}".format, st.integers(1, 99), st.integers(2, 99)
)
ROOTS = st.builds("{}\\sqrt{{{}}}".format, st.integers(2, 9), st.integers(2, 30))
CONSTANTS = st.one_of(INTEGERS, FRACTIONS, ROOTS, st.just("\\pi"), st.just("2^{10}"))
EXPRESSIONS = st.recursive(
    st.one_of(CONSTANTS, LETTERS),
    lambda inner: st.one_of(
        st.builds("({}) + {}".format, inner, inner),
        st.builds("({}) - ({})".format, inner, inner),
        st.builds("({})({})".format, inner, inner),
        st.builds("\\frac{{{}}}{{{}}}".format, inner, DIGITS),
        st.builds("({})^{{{}}}".format, inner, st.integers(1, 3)),
        st.builds("\\sqrt{{{}}}".format, st.integers(1, 50)),
        st.builds("\\sin({})".format, LETTERS),
    ),
    max_leaves=6,
)
TUPLES = st.builds("({}, {}, {})".format, CONSTANTS, CONSTANTS, CONSTANTS)
LISTS = st.lists(CONSTANTS, min_size=2, max_size=4, unique=True).map(", ".join)
SETS = LISTS.map("\\{{{}\\}}".format)
HALF_OPEN = st.builds("[{}, {})".format, st.integers(-9, 0), st.integers(1, 9))
UNIONS = st.builds(
    "(-\\infty, {}) \\cup [{}, \\infty)".format, st.integers(-9, 0), st.integers(1, 9)
)
WORDS = st.sampled_from(["\\text{north}", "\\text{Tuesday}", "\\text{both of them}"])
ANSWERS = st.one_of(EXPRESSIONS, TUPLES, LISTS, SETS, HALF_OPEN, UNIONS, WORDS)

FORMATTINGS = {
    "dollars": "${}$".format,
    "display": "\\[ {} \\]".format,
    "full stop": "{}.".format,
    "display style": lambda s: s.replace("\\frac", "\\dfrac"),
    "text style": lambda s: s.replace("\\frac", "\\tfrac"),
    "sizes": lambda s: (
        s.replace("(", "\\left(").replace(")", "\\right)")
        if s.count("(") == s.count(")")
        else s
    ),
    "thin spaces": lambda s: s.replace(", ", ",\\, ").replace(" + ", "\\;+\\;"),
    "line breaks": lambda s: s.replace(", ", ",\n  "),
    "minus sign": lambda s: s.replace("-", "−"),
    "pi sign": lambda s: s.replace("\\pi", "π"),
    "infinity sign": lambda s: s.replace("\\infty", "∞"),
    "zero width": "\u200b{}\u200b".format,
    "outer spaces": "  {}\n".format,
}


def equal(gold: str, answer: str) -> bool | None:
    decision = equality.quick(gold, answer, "exact")
    if decision is None:
        decision = equality.structural(gold, answer, "exact")
    return decision.equal


@pytest.mark.parametrize("formatting", FORMATTINGS)
@settings(max_examples=25, deadline=None)
@given(answer=ANSWERS)
def test_an_answer_equals_itself_in_every_formatting(
    formatting: str, answer: str
) -> None:
    assert equal(answer, FORMATTINGS[formatting](answer))


@settings(max_examples=80, deadline=None)
@given(answer=ANSWERS)
def test_structure_alone_knows_an_answer_as_itself(answer: str) -> None:
    assert equality.structural(answer, answer, "exact").equal


@settings(max_examples=120, deadline=None)
@given(one=ANSWERS, other=ANSWERS)
def test_order_of_the_sides_does_not_matter(one: str, other: str) -> None:
    assert equal(one, other) == equal(other, one)


@settings(max_examples=100, deadline=None)
@given(one=st.integers(-(10**30), 10**30), other=st.integers(-(10**30), 10**30))
def test_integers_are_equal_only_to_themselves(one: int, other: int) -> None:
    assert equal(str(one), f"{other:,}") is (one == other)
    assert equal(str(one), f"{one:,}".replace(",", "{,}"))


@settings(max_examples=80, deadline=None)
@given(one=EXPRESSIONS, digit=st.integers(1, 9))
def test_adding_a_constant_changes_an_expression(one: str, digit: int) -> None:
    assert equal(one, f"{one} + {digit}") is False


@settings(max_examples=100, deadline=None)
@given(values=st.lists(CONSTANTS, min_size=2, max_size=4, unique=True))
def test_lists_have_no_order_and_tuples_have(values: list[str]) -> None:
    turned = values[::-1]
    assert equal(", ".join(values), ", ".join(turned))
    if not any(equal(a, b) for a, b in zip(values, turned, strict=True)):
        assert not equal(f"({', '.join(values)})", f"({', '.join(turned)})")


@settings(max_examples=100, deadline=None)
@given(answer=ANSWERS)
def test_what_is_generated_is_read(answer: str) -> None:
    assert latex.read(tidy(answer)).kind

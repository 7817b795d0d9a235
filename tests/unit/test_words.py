"""Words of a text, whatever its typesetting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrace.words import VARIABLE, words


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"Find $\frac{1}{2}$ of $10{,}080$.", "find 1/2 of 10,080"),
        (r"\dfrac12 + \sqrt2", r"\tfrac{1}{2}+\sqrt{2}"),
        (r"10\,000 and 10\!000", "10000 and 10000"),
        ("Three dogs -- and 2.50 euros", "3 dogs and 2.5 euros"),
        (r"$x \le 3$", "x ≤ 3"),
        (r"\(\left( x, y \right)\)", "(x,y)"),
        (r"\begin{align*} 2 \cdot 3 \end{align*}", "2 * 3"),
        (r"\mathrm{Area} \text{ of } \pi", "area of π"),
        ("the box [asy] draw((0,0)--(1,1)); [/asy] is", "the box is"),
        ("x − 3", "x - 3"),
        (r"x-y, ab-c and \theta-a", r"x - y, ab - c and \theta - a"),
        ("So FIND THE GREATEST SUM", "so find the greatest sum"),
        ("10² + a₁ = 10⁻²", "10^2 + a_1 = 10^{-2}"),
        ("12\u2009500 or 12\u00a0500", "12,500 or 12500"),
        ("eas\u00adily se\u200ben", "easily seen"),
        ("x &lt; 3 &amp; y &#8805; 4", r"x < 3 & y \ge 4"),
    ],
)
def test_typesetting_changes_no_word(left: str, right: str) -> None:
    assert words(left) == words(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [("3 + 4", "3 - 4"), ("x < 3", "x > 3"), ("5!", "5"), ("12", "21"), ("a", "b")],
)
def test_meaning_changes_words(left: str, right: str) -> None:
    assert words(left) != words(right)


def test_a_hyphen_is_no_minus() -> None:
    assert words("right-angled") == ["right", "angled"]
    assert words("7-2") == ["7", "-", "2"]


def test_folding_makes_renamed_variables_equal() -> None:
    assert words("Let $x$ be on $ABC$", fold=True) == words(
        r"Let $\theta$ be on $PQR$", fold=True
    )
    assert words("a x", fold=True) == [VARIABLE, VARIABLE]
    assert words("Area of AREAS", fold=True) == ["area", "of", "areas"]


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    assert all(words(text))
    assert all(words(text, fold=True))

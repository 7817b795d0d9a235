"""When two numbers count as one: the only place where rounding is decided."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from retrace.judging.numbers import Number

Rounding = Literal["written", "exact", "published"]
"""written: a decimal stands for what rounds to it (see `same`).
exact: only equal numbers are equal.
published: relative difference of 1e-4, and a factor of 100 either way, as SkyThought's
published scores were computed.
"""

DIGITS_OF_EXACT = 4
"""Significant digits an answer needs to stand for an exact reference."""

FLOAT = Fraction(1, 10**13)
"""Digits beyond these are those of a floating-point number, not of the value."""

DIGITS_OF_COARSER = 3
"""Significant digits that an answer needs which is coarser than its reference."""

NEAR = Fraction(1, 1000)
"""How much of its size a number may be off where the other side is a decimal: a coarser
answer from its reference, or what a decimal reference stands for from that reference.
"""


def same(gold: Number, answer: Number, rounding: Rounding) -> bool:
    """Whether an answer's number is the reference's number.

    An integer or a terminating fraction is exact: nothing near it is equal to it. A
    decimal reference stands for every number that rounds to it at its last place, if
    half a unit of that place is small beside it. A decimal answer stands for the
    reference that rounds to it at the answer's last place, if it has digits enough.
    """
    if rounding == "published":
        return any(_published(gold.value * k, answer.value) for k in _HUNDREDS)
    if close(gold.value, gold.places, answer, rounding):
        return True
    if gold.percent == answer.percent:
        return False
    # One side has a percent sign: it is either a unit, or it divides by a hundred.
    shift = Fraction(1, 100) if gold.percent else Fraction(100)
    places = gold.places
    if places is not None:
        places += 2 if gold.percent else -2
    return close(gold.value * shift, places, answer, rounding)


def close(
    gold: Fraction, places: int | None, answer: Number, rounding: Rounding
) -> bool:
    """Equal, or one is the other rounded; `places` are those of a decimal reference."""
    if gold == answer.value:
        return True
    if rounding == "exact":
        return False
    if places is not None:
        if _certainly_rounds_to(answer, gold, places):
            return True
        near = abs(gold - answer.value) <= NEAR * abs(gold)
        return near and _digits(answer) >= DIGITS_OF_COARSER and _rounded(gold, answer)
    if answer.places is None or terminates(gold):
        return False
    if answer.digits > 12 and abs(gold - answer.value) <= FLOAT * abs(gold):
        return True
    return answer.digits >= DIGITS_OF_EXACT and _rounded(gold, answer)


def _certainly_rounds_to(answer: Number, written: Fraction, places: int) -> bool:
    """Whether all that an answer may stand for is written so with so many places.

    A decimal answer is a rounded number itself: 5.25 may stand for 5.249, which is not
    written 5.3.
    """
    unit = 1 / Fraction(10) ** places
    if unit / 2 > NEAR * abs(written):
        return False
    if answer.places is None or answer.places <= places:
        return rounds_to(answer.value, written, places)
    slack = 1 / Fraction(10) ** answer.places / 2
    return abs(answer.value - written) + slack <= unit / 2


def rounds_to(value: Fraction, written: Fraction, places: int) -> bool:
    """Whether a value, rounded half away from zero, is what was written."""
    half = Fraction(1, 2) / Fraction(10) ** places
    size, target = abs(value), abs(written)
    if value * written < 0:
        return False
    return target - half <= size < target + half


def terminates(value: Fraction) -> bool:
    """Whether a fraction has a short decimal form: its denominator is 2^a 5^b.

    A computed value has a power of two below that says nothing about it.
    """
    denominator = value.denominator
    if denominator > 10**15:
        return False
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1


_HUNDREDS = (Fraction(1), Fraction(100), Fraction(1, 100))


def _published(gold: Fraction, answer: Fraction) -> bool:
    return abs(gold - answer) <= abs(gold) / 10000


def _digits(answer: Number) -> int:
    """Significant digits of a decimal or an integer; a fraction is not rounded."""
    if answer.places is not None:
        return answer.digits
    return len(str(abs(answer.value.numerator))) if answer.value.denominator == 1 else 0


def _rounded(gold: Fraction, answer: Number) -> bool:
    return rounds_to(gold, answer.value, answer.places or 0)

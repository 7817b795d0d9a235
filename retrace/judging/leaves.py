"""Are two single values equal: numbers, with rounding and units, or expressions."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from retrace.judging import units, values
from retrace.judging.numbers import Number
from retrace.judging.rounding import Rounding, same
from retrace.judging.tokens import NotMine
from retrace.judging.tree import Node
from retrace.judging.values import TooLarge, Undefined

POINTS = 4
ATTEMPTS = 12


class Marks(NamedTuple):
    """What stands around a value: signs and units, and the value without them."""

    node: Node
    percent: bool
    degrees: bool
    unit: str


def equal(gold: Node, answer: Node, rounding: Rounding) -> bool:
    """Whether two single values are the same, with the policy on marks and rounding.

    Raises:
        NotMine: one of the two is no single value.
    """
    one, other = _marks(gold), _marks(answer)
    factors = units.factors(one.unit, other.unit)
    if factors is None:
        return False
    for factor in factors:
        scaled = _scaled(other.node, factor)
        if _same_base(one.node, scaled) or _equal(one, other, scaled, rounding):
            return True
    return False


def plain(node: Node) -> Number | None:
    """A literal number with the places it was written with."""
    if node.kind == "neg":
        inner = plain(node.args[0])
        return (
            None
            if inner is None
            else inner.__class__(-inner.value, inner.places, inner.digits)
        )
    if node.kind != "num":
        return None
    value, places, digits = node.args
    return Number(value, places, digits)


def identical(one: Node, other: Node) -> bool:
    """Whether two expressions agree at every point tried: the same function.

    Raises:
        NotMine: there are too few points where both have a value.
    """
    names = values.symbols(one) | values.symbols(other)
    logarithms: tuple[dict[str, Any], ...] = ({},)
    if _bare_log(one) or _bare_log(other):
        logarithms = ({}, {values.COMMON_LOGARITHM: 1})
    return any(_agree(one, other, names, extra) for extra in logarithms)


# --- Marks ----------------------------------------------------------------------------


def _marks(node: Node) -> Marks:
    percent = degrees = False
    unit = ""
    while node.kind in ("pct", "deg", "unit"):
        if (percent and node.kind == "pct") or (degrees and node.kind == "deg"):
            raise NotMine("the same sign twice")
        percent |= node.kind == "pct"
        degrees |= node.kind == "deg"
        if node.kind == "unit":
            words = node.args[1]
            if units.is_percent(words):
                percent = True
            elif units.is_degrees(words):
                degrees = True
            elif words not in unit.split():  # "$5 dollars" says it twice
                unit = f"{words} {unit}".strip()
        node = node.args[0]
    if node.kind == "neg" and node.args[0].kind in ("pct", "deg", "unit"):
        inner = _marks(node.args[0])
        return inner._replace(node=Node("neg", (inner.node,)))
    return Marks(node, percent, degrees, unit)


def _scaled(node: Node, factor: Fraction) -> Node:
    if factor == 1:
        return node
    return Node("mul", (Node("num", (factor, None, 0)), node))


def _same_base(gold: Node, answer: Node) -> bool:
    """`4343_6` and `4343`: the base may be left out where the problem has named it."""
    for one, other in ((gold, answer), (answer, gold)):
        if one.kind == "base" and other.kind == "num":
            return other.args[1] is None and str(other.args[0]) == one.args[0].lstrip(
                "0"
            )
    return False


def _equal(one: Marks, other: Marks, answer: Node, rounding: Rounding) -> bool:
    gold = one.node
    if (gold.kind == "base") != (answer.kind == "base"):
        return False
    constant = not (values.symbols(gold) or values.symbols(answer))
    if not constant:
        return identical(gold, answer)
    for left, right in _angles(one, other, gold, answer):
        if _constants(left, right, one.percent, other.percent, rounding):
            return True
    return False


def _angles(
    one: Marks, other: Marks, gold: Node, answer: Node
) -> Iterator[tuple[Node, Node]]:
    """A degree sign may be left out; degrees are converted where the other has pi."""
    yield gold, answer
    if one.degrees == other.degrees:
        return
    if one.degrees and _has(answer, "pi"):
        yield Node("deg", (gold,)), answer
    if other.degrees and _has(gold, "pi"):
        yield gold, Node("deg", (answer,))


def _has(node: Node, name: str) -> bool:
    if node.kind == "sym":
        return bool(node.args[0] == name)
    return any(isinstance(part, Node) and _has(part, name) for part in node.args)


def _bare_log(node: Node) -> bool:
    if node.kind == "fn" and node.args[0] == "log" and len(node.args) == 2:
        return True
    return any(isinstance(part, Node) and _bare_log(part) for part in node.args)


# --- Numbers --------------------------------------------------------------------------


def _constants(
    gold: Node, answer: Node, gold_pct: bool, answer_pct: bool, rounding: Rounding
) -> bool:
    literal_gold, literal_answer = plain(gold), plain(answer)
    if literal_gold is None and literal_answer is None and gold_pct == answer_pct:
        return identical(gold, answer)
    try:
        one = literal_gold or _computed(gold)
        other = literal_answer or _computed(answer)
    except Undefined:
        return False
    if one is None or other is None:
        return identical(gold, answer)
    if literal_gold is None and literal_answer is None:
        rounding = "exact"
    one = Number(one.value, one.places, one.digits, gold_pct)
    other = Number(other.value, other.places, other.digits, answer_pct)
    if same(one, other, rounding):
        return True
    exact = literal_gold is None or literal_answer is None
    return exact and gold_pct == answer_pct and identical(gold, answer)


def _computed(node: Node) -> Number | None:
    """A real constant as a number; None when it is complex."""
    value = values.real_fraction(values.evaluate(node, {}))
    return None if value is None else Number(value)


# --- Functions ------------------------------------------------------------------------


def _agree(
    one: Node, other: Node, names: frozenset[str], extra: dict[str, Any]
) -> bool:
    if not names:
        try:
            return values.equal(
                values.evaluate(one, extra), values.evaluate(other, extra)
            )
        except Undefined:
            return False
    signed = not _needs_positive(one) and not _needs_positive(other)
    agreed = 0
    for attempt in range(ATTEMPTS):
        at = {**values.point(names, attempt, signed and attempt % 2 == 1), **extra}
        try:
            left, right = values.evaluate(one, at), values.evaluate(other, at)
        except (Undefined, TooLarge):
            continue
        if not values.equal(left, right):
            return False
        agreed += 1
        if agreed == POINTS:
            return True
    raise NotMine("too few points where both sides have a value")


_BRANCHED_NAMES = """
sqrt root ln log lg arcsin arccos arctan arccot arcsec arccsc factorial binomial
"""
_BRANCHED = frozenset(_BRANCHED_NAMES.split())


def _needs_positive(node: Node) -> bool:
    """Roots and logarithms of letters are read for positive letters, unless an absolute
    value shows that the sign matters.
    """
    if node.kind == "fn" and node.args[0] in _BRANCHED and values.symbols(node):
        return not _absolute(node)
    if node.kind == "pow" and (values.symbols(node) and not _integral(node.args[1])):
        return True
    return any(isinstance(part, Node) and _needs_positive(part) for part in node.args)


def _absolute(node: Node) -> bool:
    if node.kind == "fn" and node.args[0] == "abs":
        return True
    return any(isinstance(part, Node) and _absolute(part) for part in node.args)


def _integral(node: Node) -> bool:
    literal = plain(node)
    return literal is not None and literal.value.denominator == 1

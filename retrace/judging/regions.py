r"""Sets of real numbers: intervals, unions, conditions, and what they leave out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from retrace.judging import values
from retrace.judging.tokens import NotMine
from retrace.judging.tree import Node

Leaf = Callable[[Node, Node], bool]


@dataclass(frozen=True)
class End:
    """An end of an interval. `at` orders it: a number, or an infinity as a float."""

    node: Node
    at: Any
    closed: bool


@dataclass(frozen=True)
class Interval:
    low: End
    high: End


Region = tuple[Interval, ...]
"""Disjoint intervals in ascending order; a point is closed at both ends."""

MINUS, PLUS = float("-inf"), float("inf")
_INF = Node("inf", ())
_LOWEST = End(Node("neg", (_INF,)), MINUS, False)
_HIGHEST = End(_INF, PLUS, False)
REALS: Region = (Interval(_LOWEST, _HIGHEST),)
_ZERO = Node("num", (Fraction(0), None, 0))
_ABOVE = (Interval(End(_ZERO, Fraction(0), False), _HIGHEST),)
_BELOW = (Interval(_LOWEST, End(_ZERO, Fraction(0), False)),)
_NAMED: dict[str, Region] = {
    "mathbb:R": REALS,
    "varnothing": (),
    **dict.fromkeys(("mathbb:R^+", "mathbb:R_+", "mathbb:R_>0"), _ABOVE),
    **dict.fromkeys(("mathbb:R^-", "mathbb:R_-", "mathbb:R_<0"), _BELOW),
    "mathbb:R_>=0": (Interval(End(_ZERO, Fraction(0), True), _HIGHEST),),
    "mathbb:R^*": (*_BELOW, *_ABOVE),
}
"""Sets with a sign of their own."""

_ORDER = {"<", ">", "<=", ">="}
_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


def is_region(node: Node) -> bool:
    """Whether a node can only be a set of reals, not a tuple or a value."""
    if node.kind in ("setop", "builder"):
        return True
    if node.kind == "add":
        return any(_is_set(part) for part in node.args)
    if node.kind == "rel":
        operators = node.args[0]
        if operators == ("in",):
            return is_region(node.args[2]) or _of_reals(node.args[2])
        return any(operator in _ORDER or operator == "!=" for operator in operators)
    if node.kind == "seq" and len(node.args) == 4:
        opening, closing, low, high = node.args
        mixed = (opening, closing) in (("(", "]"), ("[", ")"))
        return mixed or _infinite(low) is not None or _infinite(high) is not None
    if node.kind == "list":
        return all(is_region(part) for part in node.args)
    return node.kind == "sym" and node.args[0] in _NAMED


def read(node: Node) -> Region:
    """The set a node describes.

    Raises:
        NotMine: it describes none, or one whose ends are not constants.
    """
    if node.kind == "seq":
        return _brackets(node)
    if node.kind == "setop":
        operator, left, right = node.args
        combine = {"cup": union, "cap": intersection, "minus": difference}[operator]
        return combine(read(left), read(right))
    if node.kind == "add" and len(node.args) == 2 and node.args[1].kind == "neg":
        return difference(read(node.args[0]), read(node.args[1].args[0]))
    if node.kind == "builder":
        return read(node.args[1])
    if node.kind == "rel":
        return _relation(node)
    if node.kind == "list":
        return _several([read(part) for part in node.args], node)
    if node.kind == "sym" and node.args[0] in _NAMED:
        return _NAMED[node.args[0]]
    return (_point(node),)


def same(gold: Region, answer: Region, leaf: Leaf) -> bool:
    """The same intervals, end by end: an open end is never a closed one."""
    if len(gold) != len(answer):
        return False
    return all(
        _same_end(one.low, other.low, leaf) and _same_end(one.high, other.high, leaf)
        for one, other in zip(gold, answer, strict=True)
    )


# --- Algebra --------------------------------------------------------------------------


def union(one: Region, other: Region) -> Region:
    merged: list[Interval] = []
    for interval in sorted((*one, *other), key=lambda i: (i.low.at, not i.low.closed)):
        if merged and _touch(merged[-1].high, interval.low):
            high = max((merged[-1].high, interval.high), key=lambda e: (e.at, e.closed))
            merged[-1] = replace(merged[-1], high=high)
        else:
            merged.append(interval)
    return tuple(merged)


def intersection(one: Region, other: Region) -> Region:
    found = []
    for left in one:
        for right in other:
            low = max((left.low, right.low), key=lambda e: (e.at, not e.closed))
            high = min((left.high, right.high), key=lambda e: (e.at, e.closed))
            if low.at < high.at or (low.at == high.at and low.closed and high.closed):
                found.append(Interval(low, high))
    return tuple(sorted(found, key=lambda i: i.low.at))


def difference(one: Region, other: Region) -> Region:
    return intersection(one, complement(other))


def complement(region: Region) -> Region:
    found, low = [], _LOWEST
    for interval in region:
        high = replace(interval.low, closed=not interval.low.closed)
        if low.at < high.at or (low.at == high.at and low.closed and high.closed):
            found.append(Interval(low, high))
        low = replace(interval.high, closed=not interval.high.closed)
    if low.at < PLUS:
        found.append(Interval(low, _HIGHEST))
    return tuple(found)


def _of_reals(node: Node) -> bool:
    """Whether brackets may hold reals: `(x, y)` is in a set of pairs, which is none."""
    return node.kind == "seq" and all(part.kind != "seq" for part in node.args[2:])


def _is_set(node: Node) -> bool:
    return is_region(node) or (node.kind == "seq" and node.args[0] == "{")


def _touch(high: End, low: End) -> bool:
    if low.at < high.at:
        return True
    return bool(low.at == high.at and (low.closed or high.closed))


# --- Reading --------------------------------------------------------------------------


def _end(node: Node, closed: bool) -> End:
    infinite = _infinite(node)
    if infinite is not None:
        return End(node, infinite, False)
    if values.symbols(node):
        raise NotMine("an end that is not a constant")
    at = values.real_fraction(values.evaluate(node, {}))
    if at is None:
        raise NotMine("an end that is not real")
    return End(node, at, closed)


def _infinite(node: Node) -> float | None:
    if node.kind == "inf":
        return PLUS
    if node.kind == "neg" and node.args[0].kind == "inf":
        return MINUS
    return None


def _point(node: Node) -> Interval:
    end = _end(node, True)
    if not end.closed:
        raise NotMine("infinity as a point")
    return Interval(end, end)


def _brackets(node: Node) -> Region:
    opening, closing, *parts = node.args
    if opening == "{":
        region: Region = ()
        for part in parts:
            region = union(region, (_point(part),))
        return region
    if len(parts) != 2:
        raise NotMine("a tuple that is no interval")
    low, high = _end(parts[0], opening == "["), _end(parts[1], closing == "]")
    if low.at > high.at:
        raise NotMine("an interval whose ends are in the wrong order")
    return (Interval(low, high),)


def _relation(node: Node) -> Region:
    operators, *operands = node.args
    if operators == ("in",):
        return read(operands[1])
    if operators in (("!=",), ("=",)):
        _name, node_at = _sides(operands[0], operands[1])
        ends = node_at.args if node_at.kind == "list" else (node_at,)
        points: Region = ()
        for end in ends:
            points = union(points, (_point(end),))
        return points if operators == ("=",) else complement(points)
    if any(operator not in _ORDER for operator in operators):
        raise NotMine("a chain of several relations")
    region = REALS
    for operator, left, right in zip(operators, operands, operands[1:], strict=False):
        region = intersection(region, _inequality(operator, left, right))
    return region


def _sides(left: Node, right: Node) -> tuple[Node, Node]:
    """The variable and the constant of a relation between the two."""
    if values.symbols(left) and not values.symbols(right):
        return left, right
    if values.symbols(right) and not values.symbols(left):
        return right, left
    raise NotMine("a relation between two expressions")


def _inequality(operator: str, left: Node, right: Node) -> Region:
    """Solve what is linear in its only letter."""
    names = values.symbols(left) | values.symbols(right)
    if len(names) != 1:
        raise NotMine("an inequality in several letters")
    variable, bound = left, right
    if left.kind != "sym" or values.symbols(right):
        if right.kind == "sym" and not values.symbols(left):
            variable, bound, operator = right, left, _FLIP[operator]
        else:
            operator, bound = _linear(operator, left, right, next(iter(names)))
    del variable
    end = _end(bound, operator in ("<=", ">="))
    if operator in ("<", "<="):
        return (Interval(_LOWEST, end),)
    return (Interval(end, _HIGHEST),)


def _linear(operator: str, left: Node, right: Node, name: str) -> tuple[str, Node]:
    difference_of = Node("add", (left, Node("neg", (right,))))
    at = [
        values.real_fraction(values.evaluate(difference_of, {name: Fraction(x)}))
        for x in (0, 1, 3)
    ]
    if at[0] is None or at[1] is None or at[2] is None:
        raise NotMine("an inequality that is not real")
    slope = at[1] - at[0]
    if slope == 0 or abs(at[0] + 3 * slope - at[2]) > Fraction(1, 10**20):
        raise NotMine("an inequality that is not linear")
    bound = Node("num", (-at[0] / slope, None, 0))
    return (operator if slope > 0 else _FLIP[operator]), bound


def _several(regions: list[Region], node: Node) -> Region:
    """Conditions in a list: all of them where they can hold together, else any.

    "x > 1 and x < 3" is an interval, "x < 1 or x > 3" is two: reading one as the other
    would give no number or every number, which nobody writes so.
    """
    excluded = all(part.kind == "rel" and part.args[0] == ("!=",) for part in node.args)
    together = regions[0]
    for region in regions[1:]:
        together = intersection(together, region)
    if excluded or together:
        return together
    either: Region = ()
    for region in regions:
        either = union(either, region)
    return either


def _same_end(one: End, other: End, leaf: Leaf) -> bool:
    if one.closed != other.closed:
        return False
    if isinstance(one.at, float) or isinstance(other.at, float):
        return bool(one.at == other.at)
    return bool(one.at == other.at) or leaf(one.node, other.node)

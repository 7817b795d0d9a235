"""The tree that an answer is read into, and how its parts are put together."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, NamedTuple

from retrace.judging.tokens import NotMine

MAX_NUMBER = 400
"""Digits of a number."""


class Node(NamedTuple):
    """A part of an answer.

    num (Fraction, places or None, digits) · sym (name) · inf () · text (words)
    add, mul (nodes...) · neg, pm, mp (node) · div, pow (node, node)
    fn (name, nodes...) · app (node, node): a product or a call
    deg, pct (node) · base (digits, base) · unit (node, words)
    ratio (nodes...) · seq (open, close, nodes...) · list (nodes...)
    rel (operators, nodes...) · setop (operator, node, node) · builder (node, node)
    matrix (rows of nodes)
    """

    kind: str
    args: tuple[Any, ...]


def number(text: str) -> Node:
    whole, point, decimals = text.rstrip(".").partition(".")
    digits = re.sub(r"\D", "", whole)
    if len(digits) + len(decimals) > MAX_NUMBER:
        raise NotMine("a number longer than any answer")
    value = Fraction(int((digits + decimals) or "0"), 10 ** len(decimals))
    if not point:
        return Node("num", (value, None, 0))
    significant = len((digits + decimals).lstrip("0"))
    return Node("num", (value, len(decimals), significant))


ZERO = Node("num", (Fraction(0), None, 0))
MINUS_ONE = Node("neg", (Node("num", (Fraction(1), None, 0)),))


def product(left: Node, right: Node) -> Node:
    if left.kind == "mul":
        return Node("mul", (*left.args, right))
    return Node("mul", (left, right))


def plain_fraction(node: Node) -> Fraction | None:
    if node.kind != "div" or node.args[0].kind != "num" or node.args[1].kind != "num":
        return None
    above, below = node.args[0].args[0], node.args[1].args[0]
    whole = above.denominator == 1 and below.denominator == 1 and below
    return Fraction(above / below) if whole else None


def letters(node: Node) -> str:
    if any(part.kind != "sym" for part in node.args):
        return ""
    return "".join(part.args[0] for part in node.args)


def unit_power(node: Node) -> str:
    if node.kind == "num":
        return str(node.args[0])
    if node.kind == "neg" and node.args[0].kind == "num":
        return f"-{node.args[0].args[0]}"
    raise NotMine("a power of a unit")


def decorated(base: Node, mark: str) -> Node:
    if base.kind != "sym":
        raise NotMine(f"a {mark} on something that is not a name")
    return Node("sym", (f"{base.args[0]}^{mark}",))


def is_derivative(above: Node, below: Node) -> bool:
    """Whether a fraction is Leibniz's `dy/dx`, in which no d can be cancelled."""
    return all(
        part.kind == "mul" and _is_d(part.args[0]) and len(part.args) > 1
        for part in (above, below)
    )


def _is_d(node: Node) -> bool:
    if node.kind == "pow":
        return _is_d(node.args[0])
    return node == Node("sym", ("d",))


def items_of(node: Node) -> tuple[Node, ...]:
    return node.args if node.kind == "list" else (node,)


def in_brackets(opening: str, inside: Node, closing: str) -> Node:
    single = inside.kind != "list"
    if opening == "{":
        return inside if single else Node("seq", ("{", "}", *inside.args))
    if single and closing in (")", "]"):
        return inside
    return Node("seq", (opening, closing, *items_of(inside)))

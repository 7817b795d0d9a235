"""Whether two names name the same, and trees in which a name is another."""

from __future__ import annotations

import re

from retrace.judging.parts import Part
from retrace.judging.tree import Node


def same_name(gold: str, answer: str) -> bool:
    """Names agree by their letter: `y_s(p)` names what `Y` does; x is never y."""
    if {"y"} < {gold, answer} and any(map(_ARGUMENT.match, (gold, answer))):
        return True  # `y = 2x` and `f(x) = 2x`
    one, other = _HEAD.match(gold), _HEAD.match(answer)
    if one is None or other is None:
        return True
    return one.group().casefold() == other.group().casefold()


_HEAD = re.compile(r"[A-Za-z]+")
_ARGUMENT = re.compile(r"^[A-Za-z_]+\(([a-z])\)$")


def same_argument(gold: Part, answer: Part) -> tuple[Node, Node]:
    """`f(z) = z` is `f(x) = x`: rename the argument."""
    one, other = _ARGUMENT.match(gold.name), _ARGUMENT.match(answer.name)
    if one is None or other is None or one.group(1) == other.group(1):
        return gold.node, answer.node
    bound = "#argument"
    renamed = rename(gold.node, {one.group(1): bound})
    return renamed, rename(answer.node, {other.group(1): bound})


def rename(node: Node, names: dict[str, str]) -> Node:
    """A tree with other names for its letters."""
    if node.kind == "sym":
        return Node("sym", (names.get(node.args[0], node.args[0]),))
    changed = (rename(a, names) if isinstance(a, Node) else a for a in node.args)
    return Node(node.kind, tuple(changed))

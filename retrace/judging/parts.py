"""The values that an answer lists, each with the name it was given, if any."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from retrace.judging import leaves, values
from retrace.judging.tokens import NotMine
from retrace.judging.tree import MINUS_ONE, Node, is_derivative


class Part(NamedTuple):
    """One value of an answer, with the name it was given, if any."""

    name: str
    node: Node


def readings(node: Node) -> list[list[Part]]:
    """The values an answer lists; two readings where several plus-minus signs are."""
    listed = list(_listed(node))
    found: list[list[Part]] = []
    for linked in (False, True):
        expanded: list[Part] = []
        for part in listed:
            expanded.extend(Part(part.name, n) for n in expand(part.node, linked))
        if expanded not in found:
            found.append(expanded)
    return found


def parts_of(node: Node) -> Iterator[Part]:
    """The values an answer lists, plus-minus signs taken independently."""
    yield from readings(node)[0]


def _listed(node: Node) -> Iterator[Part]:
    if node.kind == "seq" and node.args[0] == "{":
        for part in node.args[2:]:
            yield from _listed(part)
    elif node.kind != "list":
        yield named(node)
    else:
        name = ""
        for item in node.args:
            if item.kind == "list" or (item.kind == "seq" and item.args[0] == "{"):
                yield from _listed(item)
                continue
            part = named(item)
            # "x = 1, 2" gives both values to x; a list of tuples has no such name.
            name = part.name or (name if item.kind != "seq" else "")
            yield Part(name, part.node)


def named(node: Node) -> Part:
    """A value with its name, from `x = 3`, `f(x) = 2x`, `BC^2 = 19`, `3 = x`.

    Raises:
        NotMine: a chain of relations that gives no one value.
    """
    if node.kind != "rel":
        return _point(node)
    operators, *operands = node.args
    if operators == ("in",):
        return Part(name_of(operands[0]) or "", operands[1])
    if any(operator not in ("=", "~") for operator in operators):
        raise NotMine("a relation that gives no value")
    operands = _exact_part(operators, operands)
    if len(operands) == 1:
        return Part("", operands[0])
    name = name_of(operands[0])
    if name is not None:
        _agree(operands[1:])
        return Part(name, operands[-1])
    if len(operands) == 2 and (name := name_of(operands[1])) is not None:
        return Part(name, operands[0])
    if _all_identical(operands):
        return Part("", operands[-1])
    raise NotMine("an equation that gives no value")


def _point(node: Node) -> Part:
    """`A(3, 4)` is a point with a name."""
    if node.kind == "fn" and len(node.args) > 2:
        _before, called, name = str(node.args[0]).partition("call:")
        if called and len(name) == 1 and name.isupper():
            return Part(name, Node("seq", ("(", ")", *node.args[1:])))
    return Part("", node)


def _agree(chain: Sequence[Node]) -> None:
    """Whether the numbers in `x = 41 = 42` are one, as far as they are written out.

    Raises:
        NotMine: two of them differ.
    """
    numbers = [number for node in chain if (number := leaves.plain(node))]
    for one, other in itertools.combinations(numbers, 2):
        places = [n.places for n in (one, other) if n.places is not None]
        unit = 1 / Fraction(10) ** min(places) if places else Fraction(0)
        if abs(one.value - other.value) > unit:
            raise NotMine("a chain of equations between different numbers")


def _exact_part(operators: tuple[str, ...], operands: list[Node]) -> list[Node]:
    """What stands before an approximation of it, unless that is but a name."""
    for index, operator in enumerate(operators):
        if operator == "~" and name_of(operands[index]) is None:
            return operands[: index + 1]
    return operands


def _all_identical(operands: Sequence[Node]) -> bool:
    try:
        return all(
            leaves.identical(one, other) for one, other in itertools.pairwise(operands)
        )
    except (NotMine, values.TooLarge):
        return False


# --- Plus and minus -------------------------------------------------------------------


def expand(node: Node, linked: bool) -> list[Node]:
    """The values that plus-minus signs stand for: independent ones, or all the same.

    A minus-plus sign is always linked to the plus-minus signs beside it.
    """
    count = _count(node)
    if count == 0:
        return [node]
    if count == 1 or linked or _has_kind(node, "mp"):
        choices: list[tuple[int, ...]] = [(1,) * count, (-1,) * count]
    elif count > 4:
        raise NotMine("more plus-minus signs than any answer has")
    else:
        choices = list(itertools.product((1, -1), repeat=count))
    return [_choose(node, iter(choice)) for choice in choices]


def _count(node: Node) -> int:
    own = 1 if node.kind in ("pm", "mp") else 0
    return own + sum(_count(part) for part in node.args if isinstance(part, Node))


def _has_kind(node: Node, kind: str) -> bool:
    if node.kind == kind:
        return True
    return any(isinstance(part, Node) and _has_kind(part, kind) for part in node.args)


def _choose(node: Node, signs: Iterator[int]) -> Node:
    if node.kind in ("pm", "mp"):
        sign = next(signs) * (1 if node.kind == "pm" else -1)
        inner = _choose(node.args[0], signs)
        return inner if sign > 0 else Node("neg", (inner,))
    changed = (_choose(a, signs) if isinstance(a, Node) else a for a in node.args)
    return Node(node.kind, tuple(changed))


# --- Names ----------------------------------------------------------------------------


def name_of(node: Node) -> str | None:
    """A name for a quantity: x, x_1, f(x), AB, BC^2, angle ABC, (p, q)."""
    if node.kind in ("sym", "text"):
        name = str(node.args[0])
        return None if node.kind == "sym" and name in values.CONSTANTS else name
    if node.kind == "fn" and str(node.args[0]).startswith("call:"):
        return _joined(str(node.args[0])[5:], node.args[1:])
    if node.kind == "app":
        return _joined(str(node.args[0].args[0]), node.args[1:])
    if node.kind in ("div", "ratio") and len(node.args) == 2:
        return _quotient(*node.args)
    if node.kind == "fn" and node.args[0] in _OF_ANGLES and node.args[1].kind == "sym":
        angle = str(node.args[1].args[0])
        return f"{node.args[0]} {angle}" if angle.isupper() or len(angle) > 1 else None
    if node.kind in ("mul", "app") and node.args[0].kind == "pow":
        return _inverse(node)
    if node.kind == "mul" and node.args[-1].kind == "pow":
        *front, last = node.args
        inner = name_of(Node("mul", (*front, last.args[0])))
        power = last.args[1]
        return f"{inner}^{power.args[0]}" if inner and power.kind == "num" else None
    if node.kind == "mul" and all(part.kind == "sym" for part in node.args):
        letters = [str(part.args[0]) for part in node.args]
        segment = all(len(x) == 1 and x.isupper() for x in letters)
        letters = letters[letters[:2] == ["m", "angle"] :]
        figure = letters[0] in ("angle", "triangle", "Delta")
        return "".join(letters) if segment or figure else None
    if node.kind == "pow" and node.args[1].kind in ("num", "sym"):
        inner = name_of(node.args[0])
        return None if inner is None else f"{inner}^{node.args[1].args[0]}"
    if node.kind == "fn" and node.args[0] == "abs" and len(node.args) == 2:
        inner = name_of(node.args[1])
        return None if inner is None or len(inner) < 2 else f"|{inner}|"
    if node.kind in ("seq", "list"):
        return _joined("", node.args[2:] if node.kind == "seq" else node.args)
    return None


_OF_ANGLES = frozenset({"sin", "cos", "tan", "cot", "sec", "csc"})


def _quotient(above: Node, below: Node) -> str | None:
    """`a/b`, `a:b` and `dy/dx` name a ratio of two quantities."""
    if is_derivative(above, below):
        return "derivative"
    names = [name_of(above), name_of(below)]
    return None if None in names else f"{names[0]}:{names[1]}"


def _inverse(node: Node) -> str | None:
    """`f^{-1}(x)` names a function; `x^{-1}y` does not."""
    base, exponent = node.args[0].args
    named_so = base.kind == "sym" and base.args[0] in ("f", "g", "h")
    if not named_so or exponent != MINUS_ONE or len(node.args) != 2:
        return None
    return _joined(f"{base.args[0]}inverse", node.args[1:])


def _joined(name: str, inside: Sequence[Node]) -> str | None:
    names = [name_of(part) or _digits(part) for part in inside]
    return None if None in names else f"{name}({','.join(n for n in names if n)})"


def _digits(node: Node) -> str | None:
    return str(node.args[0]) if node.kind == "num" else None

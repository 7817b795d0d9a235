r"""Are two answers equal as mathematics: single values, lists, tuples, sets, relations.

The order of checks is the order of this file: words, sets of reals, named values,
equations, then lists and single values.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from retrace.judging import leaves, regions, values
from retrace.judging.latex import Node, NotMine
from retrace.judging.rounding import Rounding

MAX_PARTS = 64
MAX_READINGS = 16


class Part(NamedTuple):
    """One value of an answer, with the name it was given, if any."""

    name: str
    node: Node


class Comparison:
    """Compares two read answers under one policy on rounding.

    `equal` raises NotMine where it cannot tell.
    """

    def __init__(self, rounding: Rounding) -> None:
        self.rounding: Rounding = rounding

    def equal(self, gold: Node, answer: Node) -> bool:
        gold, answer = _matrix_sum(gold), _matrix_sum(answer)
        if gold.kind == "text" or answer.kind == "text":
            if same_words(gold, answer):
                return True
            if max(_length(gold), _length(answer)) > MAX_NAME:
                raise NotMine("sentences whose words differ")
            return False
        if regions.is_region(gold) or regions.is_region(answer):
            return self.region(gold, answer)
        if _is_equation(gold) or _is_equation(answer):
            return self.equation(gold, answer)
        if {_kind_of_brackets(gold), _kind_of_brackets(answer)} == {"set", "tuple"}:
            return False
        return any(
            self.parts(one, other)
            for one in readings(gold)
            for other in readings(answer)
        )

    def leaf(self, gold: Node, answer: Node) -> bool:
        if "text" in (gold.kind, answer.kind):
            return same_words(gold, answer)
        compound = ("seq", "matrix", "list")
        if gold.kind in compound or answer.kind in compound:
            return self.compound(gold, answer)
        if gold.kind == "ratio" or answer.kind == "ratio":
            return self.ratio(gold, answer)
        if (
            "inf" in (gold.kind, answer.kind)
            or _signed_inf(gold)
            or _signed_inf(answer)
        ):
            return gold == answer
        return leaves.equal(gold, answer, self.rounding)

    # Sets of reals

    def region(self, gold: Node, answer: Node) -> bool:
        """Intervals and conditions; a chain of inequalities between constants, or in
        several letters, is compared as it stands.
        """
        gold, answer = _without_name(gold), _without_name(answer)
        try:
            one, other = regions.read(gold), regions.read(answer)
        except NotMine:
            if gold.kind == answer.kind == "rel":
                return self.inequality(gold, answer)
            if {gold.kind, answer.kind} == {"rel", "seq"}:
                return self.between(gold, answer)
            if gold.kind == answer.kind and gold.kind in ("setop", "seq"):
                return self.same_form(gold, answer)
            if _is_plain(gold) or _is_plain(answer):
                return False
            raise
        return regions.same(one, other, self.leaf)

    def same_form(self, gold: Node, answer: Node) -> bool:
        """Sets with letters in their ends: the same operations on the same parts."""
        if gold.kind != answer.kind:
            return False
        if gold.kind != "setop":
            return self.compound(gold, answer)
        if gold.args[0] != answer.args[0]:
            return False
        left, right = gold.args[1:], answer.args[1:]
        straight = self.same_form(left[0], right[0]) and self.same_form(
            *_last(left, right)
        )
        if straight or gold.args[0] == "minus":
            return straight
        return self.same_form(left[0], right[1]) and self.same_form(left[1], right[0])

    def between(self, gold: Node, answer: Node) -> bool:
        """`a < x < b` and `(a, b)` with letters for ends."""
        relation, interval = (gold, answer) if gold.kind == "rel" else (answer, gold)
        operators, *operands = relation.args
        if len(operands) != 3 or len(interval.args) != 4:
            raise NotMine("a condition against a tuple")
        forms = {("<", "<"): "()", ("<=", "<"): "[)", ("<", "<="): "(]"}
        forms[("<=", "<=")] = "[]"
        wanted = forms.get(operators)
        opening, closing, low, high = interval.args
        if wanted != f"{opening}{closing}":
            return False
        return self.leaf(operands[0], low) and self.leaf(operands[2], high)

    def inequality(self, gold: Node, answer: Node) -> bool:
        one, other = _ascending(gold), _ascending(answer)
        if one.args[0] != other.args[0]:
            return False
        if len(one.args) > 3 or _constant(one):
            pairs = zip(one.args[1:], other.args[1:], strict=True)
            return all(self.leaf(left, right) for left, right in pairs)
        operators = one.args[0]
        if operators == ("!=",):
            return _proportional(_difference(one), _difference(other)) is not None
        ratio = _proportional(_difference(one), _difference(other))
        return ratio is not None and ratio > 0

    # Equations

    def equation(self, gold: Node, answer: Node) -> bool:
        """Equations that give no value to a name: the same set of solutions."""
        if _is_equation(gold) and _is_equation(answer):
            one, other = _difference(gold), _difference(answer)
            return _proportional(one, other) is not None or _solved(gold, answer)
        if _is_equation(answer):
            # A reference that is a value is not an equation between other things.
            named = list(parts_of(gold))
            return (
                len(named) == 1
                and bool(named[0].name)
                and self._named(named[0], answer)
            )
        if answer.kind == "rel" or not values.symbols(answer):
            given = list(parts_of(answer))
            if len(given) != 1 or not given[0].name:
                return False
            return self._named(given[0], gold)
        return _function_of(gold, answer)

    def _named(self, part: Part, equation: Node) -> bool:
        """`y = 2x + 1` against an equation between x and y."""
        if len(part.name) != 1:
            return False
        assigned = Node("rel", (("=",), Node("sym", (part.name,)), part.node))
        one, other = _difference(assigned), _difference(equation)
        return _proportional(one, other) is not None or _solved(equation, assigned)

    # Lists and single values

    def parts(self, gold: list[Part], answer: list[Part]) -> bool:
        """Values with or without names. Names decide where both sides have them all."""
        if len(gold) == len(answer) == 1:
            return self.single(gold[0], answer[0])
        if len(gold) != len(answer):
            return self.uneven(gold, answer)
        if len(gold) > MAX_PARTS:
            raise NotMine("more parts than any answer has")
        names, others = [p.name for p in gold], [p.name for p in answer]
        if _distinct(names) and _distinct(others) and set(names) == set(others):
            by_name = {part.name: part.node for part in answer}
            return all(self.leaf(part.node, by_name[part.name]) for part in gold)
        left, right = [p.node for p in gold], [p.node for p in answer]
        if _distinct(others) != _distinct(names) and not _worded(names + others):
            # Unknowns in their own order, which the other side left unsaid.
            return self.in_order(left, right) or self.in_order(
                [p.node for p in sorted(gold, key=_name)],
                [p.node for p in sorted(answer, key=_name)],
            )
        return self.any_order(left, right)

    def single(self, gold: Part, answer: Part) -> bool:
        if gold.name and answer.name and not _same_name(gold.name, answer.name):
            return False
        one, other = gold.node, answer.node
        if gold.name and answer.name:
            one, other = _same_argument(gold, answer)
        return self.leaf(one, other) or _constants_renamed(one, other, self.leaf)

    def uneven(self, gold: list[Part], answer: list[Part]) -> bool:
        """A bare list against one tuple or set."""
        if len(gold) == 1 and len(answer) > 1:
            return self.spread(gold[0].node, [part.node for part in answer])
        if len(answer) == 1 and len(gold) > 1:
            return self.spread(answer[0].node, [part.node for part in gold])
        return False

    def spread(self, one: Node, many: list[Node]) -> bool:
        """`(1, 2, 3)` against `1, 2, 3`: in order; a set in any order."""
        if one.kind != "seq":
            return False
        opening, _closing, *inside = one.args
        if opening == "{":
            return self.any_order([p.node for n in inside for p in parts_of(n)], many)
        return self.in_order(inside, many)

    def compound(self, gold: Node, answer: Node) -> bool:
        if gold.kind == "list" or answer.kind == "list":
            return self.equal(gold, answer)
        one, other = _vector(gold), _vector(answer)
        if one is None or other is None:
            return self.matrices(gold, answer)
        if gold.kind == answer.kind == "seq" and not _same_brackets(gold, answer):
            return False
        if "{" in (gold.args[0], answer.args[0]):
            sets = [
                [p.node for n in side for p in parts_of(n)] for side in (one, other)
            ]
            return self.any_order(sets[0], sets[1])
        return self.in_order(one, other)

    def matrices(self, gold: Node, answer: Node) -> bool:
        if gold.kind != "matrix" or answer.kind != "matrix":
            return False
        if [len(row) for row in gold.args] != [len(row) for row in answer.args]:
            return False
        cells = zip(
            itertools.chain(*gold.args), itertools.chain(*answer.args), strict=True
        )
        return all(self.leaf(one, other) for one, other in cells)

    def ratio(self, gold: Node, answer: Node) -> bool:
        """A ratio is its value: 2:1 is 2; longer ones agree up to a common factor."""
        if len(gold.args) == len(answer.args) and gold.kind == answer.kind:
            pairs = zip(gold.args[1:], answer.args[1:], strict=True)
            first, other = gold.args[0], answer.args[0]
            return all(
                self.leaf(Node("div", (one, first)), Node("div", (two, other)))
                for one, two in pairs
            )
        return leaves.equal(gold, answer, self.rounding)

    def in_order(self, gold: Sequence[Node], answer: Sequence[Node]) -> bool:
        if len(gold) != len(answer):
            return False
        pairs = zip(gold, answer, strict=True)
        return all(self.leaf(_value(one), _value(other)) for one, other in pairs)

    def any_order(self, gold: Sequence[Node], answer: Sequence[Node]) -> bool:
        if len(gold) != len(answer) or len(gold) > MAX_PARTS:
            return False
        left = list(answer)
        for one in gold:
            for index, other in enumerate(left):
                if self.leaf(one, other):
                    del left[index]
                    break
            else:
                return False
        return True


# --- Words ----------------------------------------------------------------------------

MAX_NAME = 2
"""Words in a name. Longer texts may say the same in other words."""

_OPTION = re.compile(r"^\(?([A-Z])\)(?:[.:\s]|$)|^([A-Z])[.:]\s")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def same_words(gold: Node, answer: Node) -> bool:
    """The same words; an option's letter stands for the option."""
    one, other = _words(gold), _words(answer)
    if one is None or other is None:
        return False
    letters = [_OPTION.match(side.strip()) for side in (one, other)]
    if any(letters):
        named = [m.group(1) or m.group(2) if m else None for m in letters]
        bare = [named[i] or side.strip("() .") for i, side in enumerate((one, other))]
        both = named[0] is not None and named[1] is not None
        if both or len(bare[0]) == 1 or len(bare[1]) == 1:
            return bare[0] == bare[1]
    return plain_words(one) == plain_words(other) != ""


def _length(node: Node) -> int:
    return len(plain_words(_words(node) or "").split())


def plain_words(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", re.sub(r"\W+", " ", text).casefold()).split())


def _words(node: Node) -> str | None:
    if node.kind == "text":
        return str(node.args[0])
    if node.kind == "sym":
        return str(node.args[0])
    if node.kind == "mul" and all(part.kind == "sym" for part in node.args):
        return "".join(part.args[0] for part in node.args)
    return None


# --- Names ----------------------------------------------------------------------------


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
        return Part("", node)
    operators, *operands = node.args
    if operators == ("in",):
        return Part(_name_of(operands[0]) or "", operands[1])
    if any(operator not in ("=", "~") for operator in operators):
        raise NotMine("a relation that gives no value")
    operands = _exact_part(operators, operands)
    if len(operands) == 1:
        return Part("", operands[0])
    name = _name_of(operands[0])
    if name is not None:
        return Part(name, operands[-1])
    if len(operands) == 2 and (name := _name_of(operands[1])) is not None:
        return Part(name, operands[0])
    if _all_identical(operands):
        return Part("", operands[-1])
    raise NotMine("an equation that gives no value")


def _exact_part(operators: tuple[str, ...], operands: list[Node]) -> list[Node]:
    """What stands before an approximation of it, unless that is but a name."""
    for index, operator in enumerate(operators):
        if operator == "~" and _name_of(operands[index]) is None:
            return operands[: index + 1]
    return operands


def _name_of(node: Node) -> str | None:
    """A name for a quantity: x, x_1, f(x), AB, BC^2, angle ABC, (p, q)."""
    if node.kind in ("sym", "text"):
        name = str(node.args[0])
        return None if node.kind == "sym" and name in values.CONSTANTS else name
    if node.kind == "fn" and str(node.args[0]).startswith("call:"):
        return _joined(str(node.args[0])[5:], node.args[1:])
    if node.kind == "app":
        return _joined(str(node.args[0].args[0]), node.args[1:])
    if node.kind == "mul" and node.args[-1].kind == "pow":
        *front, last = node.args
        inner = _name_of(Node("mul", (*front, last.args[0])))
        power = last.args[1]
        return f"{inner}^{power.args[0]}" if inner and power.kind == "num" else None
    if node.kind == "mul" and all(part.kind == "sym" for part in node.args):
        letters = [str(part.args[0]) for part in node.args]
        segment = all(len(x) == 1 and x.isupper() for x in letters)
        figure = letters[0] in ("angle", "triangle", "Delta")
        return "".join(letters) if segment or figure else None
    if node.kind == "pow" and node.args[1].kind in ("num", "sym"):
        inner = _name_of(node.args[0])
        return None if inner is None else f"{inner}^{node.args[1].args[0]}"
    if node.kind == "fn" and node.args[0] == "abs" and len(node.args) == 2:
        inner = _name_of(node.args[1])
        return None if inner is None or len(inner) < 2 else f"|{inner}|"
    if node.kind in ("seq", "list"):
        return _joined("", node.args[2:] if node.kind == "seq" else node.args)
    return None


def _joined(name: str, inside: Sequence[Node]) -> str | None:
    names = [_name_of(part) or _digits(part) for part in inside]
    return None if None in names else f"{name}({','.join(n for n in names if n)})"


def _digits(node: Node) -> str | None:
    return str(node.args[0]) if node.kind == "num" else None


def _same_name(gold: str, answer: str) -> bool:
    """Names agree by their letter: `y_s(p)` names what `Y` does; x is never y."""
    one, other = _HEAD.match(gold), _HEAD.match(answer)
    if one is None or other is None:
        return True
    return one.group().casefold() == other.group().casefold()


_HEAD = re.compile(r"[A-Za-z]+")
_ARGUMENT = re.compile(r"^[A-Za-z_]+\(([a-z])\)$")


def _same_argument(gold: Part, answer: Part) -> tuple[Node, Node]:
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


def _constants_renamed(gold: Node, answer: Node, leaf: regions.Leaf) -> bool:
    """An arbitrary constant may be written c or C: it has no name of its own."""
    one, other = values.symbols(gold), values.symbols(answer)
    swap = {
        name: name.swapcase()
        for name in other - one
        if name[0] in "cCkK" and name.swapcase() in one - other
    }
    return bool(swap) and leaf(gold, rename(answer, swap))


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


# --- Relations ------------------------------------------------------------------------


def _is_equation(node: Node) -> bool:
    """A relation that gives no value to a name."""
    if node.kind != "rel" or any(
        operator not in ("=", "~") for operator in node.args[0]
    ):
        return False
    try:
        named(node)
    except NotMine:
        return len(node.args) == 3
    return False


def _difference(relation: Node) -> Node:
    _operators, left, right = relation.args
    return Node("add", (left, Node("neg", (right,))))


def _proportional(one: Node, other: Node) -> values.Value | None:
    """The constant factor between two functions, or None where there is none."""
    names = values.symbols(one) | values.symbols(other)
    ratio, agreed = None, 0
    for attempt in range(leaves.ATTEMPTS):
        at = values.point(names, attempt, attempt % 2 == 1)
        try:
            left, right = values.evaluate(one, at), values.evaluate(other, at)
            if left == 0 and right == 0:
                continue
            current = values.number(left) / values.number(right)
        except (values.Undefined, values.TooLarge, ZeroDivisionError):
            continue
        if abs(current) < values.NEAR:
            return None
        if ratio is not None and not values.equal(ratio, current):
            return None
        ratio, agreed = current, agreed + 1
        if agreed == leaves.POINTS:
            real = values.real_fraction(ratio)
            return None if real is None else real
    return None


def _solved(gold: Node, answer: Node) -> bool:
    """Either equation is solved for something the other is linear in, and fits it."""
    return _fits(gold, answer) or _fits(answer, gold)


def _fits(equation: Node, solved: Node) -> bool:
    """Put a solved equation's solution into another that is linear in the unknown."""
    _operators, left, right = solved.args
    for unknown, value in ((left, right), (right, left)):
        names = values.symbols(unknown)
        simple = unknown.kind == "sym" or unknown.kind == "div"
        if not simple or not names or _first(unknown) in values.symbols(value):
            continue
        if unknown.kind == "div" and not _derivative(unknown):
            continue
        if _linear_and_zero(_difference(equation), unknown, value):
            return True
    return False


def _derivative(node: Node) -> bool:
    above, below = node.args
    letters = [above.args[0] if above.kind == "mul" else above, below]
    first = letters[0] == Node("sym", ("d",))
    return bool(first) and below.kind == "mul" and below.args[0] == Node("sym", ("d",))


def _first(node: Node) -> str:
    """The letter that is moved until the unknown has its value."""
    if node.kind == "sym":
        return str(node.args[0])
    above = node.args[0]
    last = above.args[-1] if above.kind == "mul" else above
    return str(last.args[0]) if last.kind == "sym" else ""


def _linear_and_zero(function: Node, unknown: Node, value: Node) -> bool:
    """Replace the unknown by a letter of its own; the rest are test points."""
    letter = Node("sym", ("#unknown",))
    replaced = _replace(function, unknown, letter)
    if _first(unknown) in values.symbols(replaced) and unknown.kind == "sym":
        return False
    names = (values.symbols(replaced) | values.symbols(value)) - {"#unknown"}
    for attempt in range(leaves.POINTS):
        at = values.point(names, attempt)
        try:
            solution = values.evaluate(value, at)
            steps = [
                values.number(values.evaluate(replaced, {**at, "#unknown": x}))
                for x in (0, 1, 2, solution)
            ]
        except (values.Undefined, values.TooLarge):
            return False
        slope = steps[1] - steps[0]
        if abs(slope) < values.NEAR or not values.equal(slope, steps[2] - steps[1]):
            return False
        if abs(steps[3]) > values.NEAR * (abs(slope) + abs(steps[0])):
            return False
    return True


def _replace(node: Node, old: Node, new: Node) -> Node:
    if node == old:
        return new
    changed = (_replace(a, old, new) if isinstance(a, Node) else a for a in node.args)
    return Node(node.kind, tuple(changed))


def _function_of(equation: Node, value: Node) -> bool:
    """`xy = 6` against `6/x`: an equation that is linear in y makes y a function."""
    free = values.symbols(equation) - values.symbols(value)
    if len(free) != 1 or not values.symbols(value):
        return False
    unknown = Node("sym", (next(iter(free)),))
    return _linear_and_zero(_difference(equation), unknown, value)


def _all_identical(operands: Sequence[Node]) -> bool:
    try:
        return all(
            leaves.identical(one, other) for one, other in itertools.pairwise(operands)
        )
    except (NotMine, values.TooLarge):
        return False


def _ascending(node: Node) -> Node:
    """`a > b` as `b < a`, so that two ways round are one."""
    operators, *operands = node.args
    if any(operator in (">", ">=") for operator in operators):
        flipped = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
        turned = tuple(flipped.get(operator, operator) for operator in operators[::-1])
        return Node("rel", (turned, *operands[::-1]))
    return node


def _kind_of_brackets(node: Node) -> str:
    if node.kind != "seq":
        return "none"
    return "set" if node.args[0] == "{" else "tuple"


def _matrix_sum(node: Node) -> Node:
    """A sum of matrices of one shape as the matrix it is."""
    if node.kind != "add" or any(part.kind != "matrix" for part in node.args):
        return node
    shapes = {tuple(len(row) for row in part.args) for part in node.args}
    if len(shapes) != 1:
        raise NotMine("a sum of matrices of different shapes")
    rows = zip(*(part.args for part in node.args), strict=True)
    return Node(
        "matrix",
        tuple(
            tuple(Node("add", cells) for cells in zip(*same, strict=True))
            for same in rows
        ),
    )


# --- Small questions ------------------------------------------------------------------


def _is_plain(node: Node) -> bool:
    """Numbers and expressions, alone or listed: no set of reals with an inside."""
    if node.kind == "list":
        return all(_is_plain(part) for part in node.args)
    return node.kind in ("num", "neg", "add", "mul", "div", "pow", "fn", "sym")


def _without_name(node: Node) -> Node:
    """`D = (0, 1]`: the set, without its name."""
    if node.kind == "rel" and node.args[0] == ("=",) and _name_of(node.args[1]):
        right: Node = node.args[2]
        if regions.is_region(right) or right.kind in ("seq", "setop"):
            return right
    return node


def _constant(node: Node) -> bool:
    return not values.symbols(node)


def _value(node: Node) -> Node:
    return named(node).node


def _name(part: Part) -> str:
    return part.name


def _distinct(names: list[str]) -> bool:
    return all(names) and len(set(names)) == len(names) > 1


def _worded(names: list[str]) -> bool:
    """Names that are words: whoever asked for three children's ages named no order."""
    return any(len(name) > 3 and name.isalpha() for name in names)


def _signed_inf(node: Node) -> bool:
    return node.kind == "neg" and node.args[0].kind == "inf"


def _last(left: Sequence[Node], right: Sequence[Node]) -> tuple[Node, Node]:
    return left[1], right[1]


def _vector(node: Node) -> list[Node] | None:
    """The entries of a tuple, or of a matrix with one row or column."""
    if node.kind == "seq":
        return list(node.args[2:])
    if node.kind == "matrix":
        if all(len(row) == 1 for row in node.args):
            return [row[0] for row in node.args]
        if len(node.args) == 1:
            return list(node.args[0])
    return None


def _same_brackets(gold: Node, answer: Node) -> bool:
    """Round and square brackets mean interval ends in pairs, and nothing otherwise."""
    one, other = gold.args[:2], answer.args[:2]
    if "{" in (one[0], other[0]):
        return bool(one[0] == other[0])
    if len(gold.args) != 4 or "langle" in (one[0], other[0]):
        return True
    return bool(one == other)

r"""Are two answers equal as mathematics: single values, lists, tuples, sets, relations.

The order of checks is the order of this file: words, sets of reals, equations, then
lists and single values, with their names.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from retrace.judging import equations, leaves, regions, values
from retrace.judging.naming import rename, same_argument, same_name
from retrace.judging.parts import Part, expand, name_of, named, parts_of, readings
from retrace.judging.rounding import Rounding
from retrace.judging.tokens import NotMine
from retrace.judging.tree import MINUS_ONE, Node
from retrace.judging.words import same_words, word_count

MAX_PARTS = 64
MAX_NAME = 2
"""Words in a name. Longer texts may say the same in other words."""


class Comparison:
    """Compares two read answers under one policy on rounding.

    `equal` raises NotMine where it cannot tell.
    """

    def __init__(self, rounding: Rounding) -> None:
        self.rounding: Rounding = rounding

    def equal(self, gold: Node, answer: Node) -> bool:
        gold, answer = _matrix(gold), _matrix(answer)
        if gold.kind == "text" or answer.kind == "text":
            if same_words(gold, answer):
                return True
            if max(word_count(gold), word_count(answer)) > MAX_NAME:
                raise NotMine("sentences whose words differ")
            return False
        if regions.is_region(gold) or regions.is_region(answer):
            return self.region(gold, answer)
        if equations.is_equation(gold) or equations.is_equation(answer):
            return self.equation(gold, answer)
        if {_kind_of_brackets(gold), _kind_of_brackets(answer)} == {"set", "tuple"}:
            return False
        listed = any(
            self.parts(one, other)
            for one in readings(gold)
            for other in readings(answer)
        )
        return listed or equations.relates(gold, answer)

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
        if not regions.is_region(gold) and not regions.is_region(answer):
            return self.equal(gold, answer)
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
            return (
                equations.proportional(
                    equations.difference(one), equations.difference(other)
                )
                is not None
            )
        ratio = equations.proportional(
            equations.difference(one), equations.difference(other)
        )
        return ratio is not None and ratio > 0

    def equation(self, gold: Node, answer: Node) -> bool:
        """Equations, with plus-minus signs as the several that they stand for."""
        ones, others = expand(gold, False), expand(answer, False)
        if len(ones) != len(others):
            return False
        return all(any(equations.same(a, b) for b in others) for a in ones) and all(
            any(equations.same(a, b) for a in ones) for b in others
        )

    # Lists and single values

    def parts(self, gold: list[Part], answer: list[Part]) -> bool:
        """Values with or without names. Names decide where both sides have them all."""
        if len(gold) != len(answer):
            gold, answer = _once(gold), _once(answer)
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
        if gold.name and answer.name and not same_name(gold.name, answer.name):
            return False
        one, other = gold.node, answer.node
        if gold.name and answer.name:
            one, other = same_argument(gold, answer)
        return self.leaf(one, other) or _constants_renamed(one, other, self.leaf)

    def uneven(self, gold: list[Part], answer: list[Part]) -> bool:
        """A bare list against one tuple or set."""
        for one, many in ((gold, answer), (answer, gold)):
            if len(one) == 1 and (by_name := _by_name(one[0], many)):
                return self.in_order(list(one[0].node.args[2:]), by_name)
        if len(gold) == 1 and len(answer) > 1:
            return self.spread(gold[0].node, [part.node for part in answer])
        if len(answer) == 1 and len(gold) > 1:
            return self.spread(answer[0].node, [part.node for part in gold])
        return False

    def spread(self, one: Node, many: list[Node]) -> bool:
        """`(1, 2, 3)` against `1, 2, 3`: in order; a set in any order."""
        if one.kind != "seq":
            return False
        opening, closing, *inside = one.args
        if opening == "{":
            return self.any_order([p.node for n in inside for p in parts_of(n)], many)
        interval = opening == "[" and closing == "]" and len(inside) == 2
        return not interval and self.in_order(inside, many)

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
        gold, answer = _rows(gold), _rows(answer)
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


# --- Small questions ------------------------------------------------------------------


def _by_name(tuple_of: Part, many: list[Part]) -> list[Node]:
    """The values of `q = 3, p = 2` in the order that `(p, q) = (2, 3)` names."""
    names = tuple_of.name[1:-1].split(",") if tuple_of.name[:1] == "(" else []
    values_of = {part.name: part.node for part in many}
    fits = tuple_of.node.kind == "seq" and len(names) == len(tuple_of.node.args) - 2
    if not fits or len(many) != len(names) or set(names) != set(values_of):
        return []
    return [values_of[name] for name in names]


def _once(parts: list[Part]) -> list[Part]:
    """A double root: one value that is listed several times under one name."""
    return [parts[0]] if all(part == parts[0] for part in parts) else parts


def _is_plain(node: Node) -> bool:
    """Numbers and expressions, alone or listed: no set of reals with an inside."""
    if node.kind == "list":
        return all(_is_plain(part) for part in node.args)
    return node.kind in ("num", "neg", "add", "mul", "div", "pow", "fn", "sym")


def _without_name(node: Node) -> Node:
    """`D = (0, 1]`: the set, without its name."""
    if node.kind == "rel" and node.args[0] == ("=",) and name_of(node.args[1]):
        right: Node = node.args[2]
        if regions.is_region(right) or right.kind in ("seq", "setop"):
            return right
    if node.kind == "builder" and node.args[1].kind == "rel":
        operators, *operands = node.args[1].args
        if operators == ("=",) and operands[0] == node.args[0]:
            return Node("seq", ("{", "}", operands[1]))
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


def _matrix(node: Node) -> Node:
    """A multiple or a sum of matrices of one shape as the matrix it is."""
    if node.kind == "neg" and node.args[0].kind in ("matrix", "mul"):
        node = Node("mul", (MINUS_ONE, *_factors(node.args[0])))
    if node.kind == "mul" and sum(part.kind == "matrix" for part in node.args) == 1:
        return _scaled(node)
    if node.kind == "add":
        node = Node("add", tuple(_matrix(part) for part in node.args))
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


def _factors(node: Node) -> tuple[Node, ...]:
    return node.args if node.kind == "mul" else (node,)


def _scaled(product: Node) -> Node:
    matrix = next(part for part in product.args if part.kind == "matrix")
    numbers = tuple(part for part in product.args if part.kind != "matrix")
    rows = (tuple(Node("mul", (*numbers, cell)) for cell in row) for row in matrix.args)
    return Node("matrix", tuple(rows))


def _rows(node: Node) -> Node:
    """`[[1, 2], [3, 4]]` as the matrix with these rows."""
    if node.kind != "seq" or node.args[0] != "[" or len(node.args) < 4:
        return node
    rows = [
        part for part in node.args[2:] if part.kind == "seq" and part.args[0] == "["
    ]
    if len(rows) < len(node.args) - 2 or len({len(row.args) for row in rows}) != 1:
        return node
    return Node("matrix", tuple(row.args[2:] for row in rows))


def _constants_renamed(gold: Node, answer: Node, leaf: regions.Leaf) -> bool:
    """An arbitrary constant may be written c or C: it has no name of its own."""
    one, other = values.symbols(gold), values.symbols(answer)
    swap = {
        name: name.swapcase()
        for name in other - one
        if name[0] in "cCkK" and name.swapcase() in one - other
    }
    if "j" in one ^ other:  # the engineers' letter for i
        used = gold if "j" in one else answer
        if rename(used, {"i": "#"}) == used:
            return leaf(rename(gold, {"j": "i"}), rename(answer, {"j": "i"}))
    return bool(swap) and leaf(gold, rename(answer, swap))

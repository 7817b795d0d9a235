"""Equations: which say the same, and which give a name its value."""

from __future__ import annotations

from retrace.judging import leaves, values
from retrace.judging.parts import Part, named, parts_of
from retrace.judging.tokens import NotMine
from retrace.judging.tree import Node, is_derivative


def is_equation(node: Node) -> bool:
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


def same(gold: Node, answer: Node) -> bool:
    """Equations that give no value to a name: the same set of solutions."""
    if is_equation(gold) and is_equation(answer):
        return same_solutions(gold, answer)
    if is_equation(answer):
        # A reference that is a value is not an equation between other things.
        given = list(parts_of(gold))
        return len(given) == 1 and bool(given[0].name) and _named(given[0], answer)
    if answer.kind == "rel" or not values.symbols(answer):
        given = list(parts_of(answer))
        if len(given) != 1 or not given[0].name:
            return False
        return _named(given[0], gold)
    return _function_of(gold, answer)


def relates(gold: Node, answer: Node) -> bool:
    """Whether both relate letters to one another, and say the same: `y^2 = 4x` and
    `x = y^2/4`, in which each side may also be taken for a value with a name.
    """
    for node in (gold, answer):
        if node.kind != "rel" or node.args[0] != ("=",):
            return False
        if len(values.symbols(node)) < 2:
            return False
    try:
        return same_solutions(gold, answer)
    except NotMine:
        return False


def same_solutions(gold: Node, answer: Node) -> bool:
    """Two equations of which one is a multiple of the other, or its solution."""
    one, other = difference(gold), difference(answer)
    return proportional(one, other) is not None or _solved(gold, answer)


def _named(part: Part, equation: Node) -> bool:
    """`y = 2x + 1` against an equation between x and y."""
    if len(part.name) != 1:
        return False
    assigned = Node("rel", (("=",), Node("sym", (part.name,)), part.node))
    return same_solutions(equation, assigned)


def difference(relation: Node) -> Node:
    _operators, left, right = relation.args
    return Node("add", (left, Node("neg", (right,))))


def proportional(one: Node, other: Node) -> values.Value | None:
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
        if unknown.kind == "div" and not is_derivative(*unknown.args):
            continue
        if _linear_and_zero(difference(equation), unknown, value):
            return True
    return False


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
    return _linear_and_zero(difference(equation), unknown, value)

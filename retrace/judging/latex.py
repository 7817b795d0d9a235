r"""Reads LaTeX answers into a small tree.

Covers what final answers are made of: numbers, expressions, tuples, sets, intervals,
relations, matrices, plus-minus, bases, degrees, percent, ratios, units and words. Sums,
integrals and limits are not read: `NotMine` is raised, and another layer is asked.
"""

from __future__ import annotations

from retrace.judging.expressions import Expressions
from retrace.judging.tokens import (
    CONDITION,
    RELATIONS,
    SEPARATOR,
    harmless,
    tokenize,
)
from retrace.judging.tree import Node

_ENDS_OF_LABEL = (":", "=", " is", "only", "为", "是")


def read(tidied: str, grouped: bool = True) -> Node:
    """Read a tidied answer.

    Args:
        grouped: read `1,234` as one number with a thousands separator, not as two.

    Raises:
        NotMine: there is something this reader does not know.
    """
    parser = _Statements(tokenize(tidied, grouped))
    node = parser.items(None)
    if parser.peek() is not None:
        parser.fail("what follows the answer")
    return node


class _Statements(Expressions):
    """The grammar of answers: lists of statements, with labels and conditions."""

    def items(self, closing: tuple[str, ...] | None) -> Node:
        """Statements between separators, as `list` where there are several."""
        found = [self.statement()]
        while True:
            if closing is not None and self.is_op(*closing):
                break
            if self.peek() is None:
                break
            if not self.separator():
                self.fail("no separator")
            if self.peek() is None:
                break
            found.append(self.statement())
        if found[0].kind == "rel" and found[0].args[0] == ("!=",):
            found = [found[0], *(_excluded(found[0], node) for node in found[1:])]
        return found[0] if len(found) == 1 else Node("list", tuple(found))

    def separator(self) -> bool:
        """Any run of commas, semicolons and the words "and" and "or"."""
        start = self.at
        while True:
            token = self.peek()
            if token is None:
                break
            words = token.kind == "text" and SEPARATOR.match(token.text)
            if words or self.is_op(",", ";", "\\\\"):
                self.at += 1
            else:
                break
        return self.at > start

    def statement(self) -> Node:
        self.take("=", "~")
        label = self.label()
        operands = [self.set_expression()]
        operators: list[str] = []
        while (token := self.peek()) is not None and token.kind == "op":
            if token.text not in RELATIONS.values():
                break
            self.at += 1
            operators.append(token.text)
            if token.text == "in" and self.is_op(","):
                self.fail("an empty set")
            operands.append(self.set_expression())
        self.condition()
        if label is not None:
            operands.insert(0, Node("text", (label,)))
            operators.insert(0, "=")
        if not operators:
            return operands[0]
        return Node("rel", (tuple(operators), *operands))

    def label(self) -> str | None:
        """Words before a value: "Maximum = 2", "Ann: 3", "only x = 0"."""
        token = self.peek()
        if token is None or token.kind != "text" or SEPARATOR.match(token.text):
            return None
        start, words = self.at, []
        while (token := self.peek()) is not None and token.kind == "text":
            words.append(token.text)
            self.at += 1
        text = " ".join(words)
        if token is None or not harmless(text.rstrip(" :=")):
            self.at = start
            return None
        if self.take("=", ":") or text.rstrip().endswith(_ENDS_OF_LABEL):
            return text.strip(" :=")
        self.at = start
        return None

    def condition(self) -> None:
        """Skip "for all x" and the like, up to the next "and", "or" or the end."""
        token = self.peek()
        start = self.at
        if token is not None and self.is_op(",", "("):
            self.at += 1
            token = self.peek()
        if token is None or token.kind != "text" or not CONDITION.match(token.text):
            self.at = start
            return
        while (token := self.peek()) is not None:
            if token.kind == "text" and SEPARATOR.match(token.text):
                break
            self.at += 1

    def set_expression(self) -> Node:
        left = self.sum()
        while True:
            token = self.peek()
            if token is None or token.kind != "op":
                return left
            if token.text not in ("cup", "cap", "minus"):
                return left
            self.at += 1
            left = Node("setop", (token.text, left, self.sum()))


def _excluded(first: Node, node: Node) -> Node:
    """The second value of `x \\ne 1, 2` is excluded like the first."""
    if node.kind == "rel":
        return node
    return Node("rel", (first.args[0], first.args[1], node))

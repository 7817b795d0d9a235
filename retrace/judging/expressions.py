"""Reads single values: from sums down to numbers, names, functions and brackets."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction

from retrace.judging.cursor import Cursor
from retrace.judging.tokens import (
    CONDITION,
    SEPARATOR,
    UNIT_LETTERS,
    UNITS,
    NotCovered,
    Token,
    harmless,
)
from retrace.judging.tree import (
    MINUS_ONE,
    ZERO,
    Node,
    decorated,
    in_brackets,
    items_of,
    letters,
    number,
    plain_fraction,
    product,
    unit_power,
)
from retrace.judging.words import NUMBERS

MAX_DEPTH = 60
DOLLARS = "dollars"


class Expressions(Cursor):
    """The grammar of values; brackets hold statements, which `items` reads."""

    @abstractmethod
    def items(self, closing: tuple[str, ...] | None) -> Node:
        """Statements between separators, up to a closing sign or the end."""

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail("nesting deeper than any answer has")
        terms = [self.signed()]
        while self.is_op("+", "-", "pm", "mp"):
            terms.append(self.signed())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def signed(self) -> Node:
        sign: list[str] = []
        while self.is_op("+", "-", "pm", "mp"):
            sign.append(self.next().text)
            if len(sign) > MAX_DEPTH:
                self.fail("a row of signs")
        node = self.term()
        for operator in reversed(sign):
            if operator == "-":
                node = Node("neg", (node,))
            elif operator != "+":
                node = Node(operator, (node,))
        return node

    def term(self) -> Node:
        node = self.factor()
        while True:
            token = self.peek()
            if token is None:
                return node
            if self.is_op("*"):
                self.at += 1
                node = product(node, self.signed_factor())
            elif self.is_op("/"):
                self.at += 1
                node = Node("div", (node, self.signed_factor()))
            elif self.is_op(":") and not self.bars:
                self.at += 1
                self.not_a_clock(node)
                parts = node.args if node.kind == "ratio" else (node,)
                node = Node("ratio", (*parts, self.signed_factor()))
            elif token.kind == "text" or self.unit_quotient_follows():
                unit = self.unit()
                if unit is None:
                    return node
                node = Node("unit", (node, unit))
            elif self.starts_factor(token):
                node = self.juxtaposed(node)
            else:
                return node

    def not_a_clock(self, before: Node) -> None:
        """`12:05` is a time of day, not a ratio."""
        token = self.peek()
        zero = token is not None and token.kind == "num" and token.text[0] == "0"
        if zero or before == ZERO:
            self.fail("a time of day")

    def juxtaposed(self, left: Node) -> Node:
        """A product without a sign; a number and a proper fraction are mixed."""
        if left.kind == "text":
            self.fail("words in a product")
        was_number = self.tokens[self.at - 1].kind == "num"
        token = self.peek()
        assert token is not None
        if left.kind == "sym" and token.text == "(" and not token.spaced:
            return self.applied(left)
        right = self.factor()
        if was_number and left.kind == "num" and token.kind == "frac":
            whole, fraction = left.args[0], plain_fraction(right)
            if fraction is not None and whole.denominator == 1 and 0 < fraction < 1:
                return Node("num", (whole + fraction, None, 0))
        if was_number and token.kind == "num":
            return self.two_numbers(left, right)
        return product(left, right)

    def applied(self, name: Node) -> Node:
        """`x(t)`: a name applied to an argument, or a product; which, is left open."""
        self.at += 1
        inside = self.items((")",))
        self.expect(")")
        if inside.kind == "list":
            return Node("fn", (f"call:{name.args[0]}", *inside.args))
        return Node("app", (name, inside))

    def two_numbers(self, left: Node, right: Node) -> Node:
        """`6 1/2` is a mixed number; any other two numbers in a row are a mistake."""
        if left.kind == "deg" or not self.take("/"):
            self.fail("two numbers in a row")
        below = self.factor()
        if left.kind == right.kind == below.kind == "num" and below.args[0] != 0:
            fraction = right.args[0] / below.args[0]
            if left.args[0].denominator == 1 and 0 < fraction < 1:
                return Node("num", (left.args[0] + fraction, None, 0))
        return self.fail("two numbers in a row")

    def starts_factor(self, token: Token) -> bool:
        if token.kind in ("num", "sym", "fn", "frac", "sqrt", "binom", "begin", "inf"):
            return True
        if token.kind != "op":
            return False
        if token.text == "|":
            return not self.bars
        return token.text in ("(", "[", "{", "\\{", "lceil", "lfloor", "langle")

    def signed_factor(self) -> Node:
        if self.is_op("+", "-", "pm", "mp"):
            operator = self.next().text
            node = self.signed_factor()
            if operator == "+":
                return node
            return Node("neg" if operator == "-" else operator, (node,))
        return self.factor()

    def factor(self) -> Node:
        node = self.primary()
        while True:
            if self.is_op("^", "**"):
                self.at += 1
                node = self.raised(node)
            elif self.is_op("!"):
                self.at += 1
                node = Node("fn", ("factorial", node))
            elif self.is_op("\\%", "%"):
                self.at += 1
                node = Node("pct", (node,))
            elif self.is_op("'") and node.kind == "deg":
                self.fail("minutes")
            elif self.is_op("'") and node.kind == "sym":
                self.at += 1
                node = Node("sym", (node.args[0] + "'",))
            else:
                return self.minutes(node)

    def minutes(self, node: Node) -> Node:
        """`60^\\circ 42'`: sixtieths of a degree."""
        token = self.peek()
        follows = self.tokens[self.at + 1 : self.at + 2]
        if node.kind != "deg" or token is None or token.kind != "num":
            return node
        if not follows or follows[0].text not in ("'", "prime", "^"):
            return node
        self.at += 2
        if follows[0].text == "^":
            self.group()
        part = Node("div", (number(token.text), Node("num", (Fraction(60), None, 0))))
        return Node("deg", (Node("add", (node.args[0], part)),))

    def raised(self, base: Node) -> Node:
        """What `^` means: a power, a degree sign, a prime or an ordinal's letters."""
        token = self.peek()
        if token is not None and token.kind == "op" and token.text in ("+", "-", "*"):
            follows = self.tokens[self.at + 1 : self.at + 2]
            if token.text == "-" and follows and follows[0].kind == "num":
                self.at += 1
                return Node("pow", (base, Node("neg", (self.simple(),))))
            self.at += 1
            return decorated(base, token.text)
        exponent = self.group()
        if exponent.kind == "sym" and exponent.args[0] == "circ":
            return Node("deg", (base,))
        if exponent.kind == "sym" and exponent.args[0] in ("prime", "dagger", "star"):
            return decorated(base, exponent.args[0])
        if exponent.kind == "mul" and letters(exponent) in UNITS:
            return Node("unit", (base, letters(exponent)))
        if exponent.kind == "text":
            return Node("unit", (base, exponent.args[0]))
        if exponent.kind == "list":
            self.fail("a list as an exponent")
        if base.kind == "sym" and self.take("_"):  # `v^2_0` is the square of `v_0`
            base = Node("sym", (f"{base.args[0]}_{self.subscript()}",))
        return Node("pow", (base, exponent))

    def group(self) -> Node:
        """A braced argument, or the single token that LaTeX takes in its place."""
        if self.take("{"):
            if self.take("}"):
                self.fail("an empty group")
            token = self.peek()
            if token is not None and token.kind == "text":
                self.at += 1
                self.expect("}")
                return Node("text", (token.text,))
            bars, self.bars = self.bars, 0
            node = self.items(("}",))
            self.bars = bars
            self.expect("}")
            return node
        if self.take("("):
            self.at -= 1
            return self.primary()
        return self.simple()

    def simple(self) -> Node:
        """One token as an argument: the first digit only, of several."""
        token = self.next()
        if token.kind == "num":
            return number(token.text)
        if token.kind == "sym":
            return Node("sym", (token.text,))
        if token.kind == "text":
            return Node("text", (token.text,))
        if token.kind == "inf":
            return Node("inf", ())
        self.at -= 1
        return self.primary()

    def primary(self) -> Node:
        token = self.next()
        if token.kind == "num":
            return self.number(token)
        if token.kind == "sym":
            return self.symbol(token)
        if token.kind == "fn":
            return self.function(token.text)
        if token.kind == "inf":
            return Node("inf", ())
        if token.kind in ("frac", "binom"):
            above, below = self.argument(), self.argument()
            if token.kind == "frac":
                return Node("div", (above, below))
            return Node("fn", ("binomial", above, below))
        if token.kind == "sqrt":
            return self.root()
        if token.kind == "begin":
            return self.matrix(token.text)
        if token.kind == "text":
            return Node("text", (self.words(token.text),))
        if token.kind == "op":
            return self.bracketed(token.text)
        if token.kind == "ctl":
            return self.primary()
        self.at -= 1
        return self.fail(f"the token {token.text!r}")

    def words(self, first: str) -> str:
        """A whole statement of words."""
        found = [first]
        while (token := self.peek()) is not None and token.kind == "text":
            if SEPARATOR.match(token.text) or CONDITION.match(token.text):
                break
            found.append(token.text)
            self.at += 1
        return " ".join(found)

    def argument(self) -> Node:
        """An argument of \\frac: braced, or a single digit or letter."""
        if self.is_op("{"):
            return self.group()
        token = self.peek()
        if token is not None and token.kind == "num" and len(token.text) > 1:
            head, rest = token.text[0], token.text[1:]
            self.tokens[self.at : self.at + 1] = [
                Token("num", head),
                Token("num", rest),
            ]
        return self.simple()

    def number(self, token: Token) -> Node:
        if self.take("_"):
            base = self.group()
            if base.kind == "text" and base.args[0].casefold() in NUMBERS:
                base = Node(
                    "num", (Fraction(NUMBERS[base.args[0].casefold()]), None, 0)
                )
            if base.kind != "num" or not token.text.isalnum():
                self.fail("a subscript of a number")
            return Node("base", (token.text, base.args[0]))
        return number(token.text)

    def symbol(self, token: Token) -> Node:
        name = token.text
        if self.take("_"):
            name = f"{name}_{self.subscript()}"
        opaque = name.partition("_")[0] in ("f", "g", "h")
        if opaque and self.is_op("("):
            self.at += 1
            inside = self.items((")",))
            self.expect(")")
            arguments = inside.args if inside.kind == "list" else (inside,)
            return Node("fn", (f"call:{name}", *arguments))
        return Node("sym", (name,))

    def subscript(self) -> str:
        """The text of a subscript: names differ by it, whatever it holds."""
        if not self.take("{"):
            return self.next().text
        depth, parts = 1, []
        while depth:
            token = self.next()
            if token.kind == "op" and token.text in ("{", "}"):
                depth += 1 if token.text == "{" else -1
                continue
            parts.append(token.text)
        return "".join(parts)

    def root(self) -> Node:
        index: Node | None = None
        if self.take("["):
            index = self.sum()
            self.expect("]")
        token = self.peek()
        if token is not None and token.kind == "num":
            inside = self.simple()  # `\\sqrt13` is the root of 13, whatever TeX prints
        else:
            inside = self.argument() if not self.is_op("(") else self.primary()
        if index is None:
            return Node("fn", ("sqrt", inside))
        return Node("fn", ("root", inside, index))

    def function(self, name: str) -> Node:
        power: Node | None = None
        base: Node | None = None
        while self.is_op("^", "_"):
            if self.next().text == "^":
                power = self.group()
            else:
                base = self.group()
        inside = self.function_argument()
        arguments = inside.args if inside.kind == "list" else (inside,)
        inverse = power is not None and power == MINUS_ONE
        if inverse and name in ("sin", "cos", "tan", "cot", "sec", "csc"):
            name, power = f"arc{name}", None
        if base is not None:
            if name != "log":
                self.fail(f"a subscript of {name}")
            arguments = (*arguments, base)
        node = Node("fn", (name, *arguments))
        return node if power is None else Node("pow", (node, power))

    def function_argument(self) -> Node:
        """What a function is applied to: a bracket, or factors up to the next sign."""
        if self.is_op("(", "[", "{"):
            closing = {"(": ")", "[": "]", "{": "}"}[self.next().text]
            bars, self.bars = self.bars, 0
            inside = self.items((closing,))
            self.bars = bars
            self.expect(closing)
            return self.powers_of_argument(inside)
        negative = self.take("-")
        node = self.factor()
        while (token := self.peek()) is not None and self.starts_factor(token):
            if token.kind == "fn" or self.is_op("(", "["):
                break
            node = product(node, self.factor())
        return Node("neg", (node,)) if negative else node

    def powers_of_argument(self, inside: Node) -> Node:
        """`\\exp{x}^2` and `\\ln(x)!` are not worth guessing at."""
        if self.is_op("^", "!") and inside.kind == "list":
            self.fail("a power of a list")
        return inside

    def bracketed(self, opening: str) -> Node:
        if opening in ("\\$", "$"):
            return Node("unit", (self.primary(), DOLLARS))
        if opening == "\\#":
            return self.primary()
        if opening == "|":
            self.bars += 1
            inside = self.sum()
            self.bars -= 1
            self.expect("|")
            return Node("fn", ("abs", inside))
        if opening in ("lceil", "lfloor"):
            inside = self.sum()
            self.expect(opening.replace("l", "r", 1))
            return Node("fn", (opening[1:], inside))
        if opening == "\\{":
            return self.braces()
        closing = {
            "(": (")", "]"),
            "[": ("]", ")"),
            "langle": ("rangle", ">"),
            "{": ("}",),
        }.get(opening)
        if closing is None:
            self.at -= 1
            self.fail(f"the sign {opening!r}")
        bars, self.bars = self.bars, 0
        inside = self.items(closing)
        self.bars = bars
        shut = self.expect(*closing)
        return in_brackets(opening, inside, shut)

    def braces(self) -> Node:
        if self.take("\\}"):
            return Node("seq", ("{", "}"))
        bars, self.bars = self.bars, 1
        first = self.items(("\\}", "|", ":"))
        self.bars = bars
        if self.take("|", ":"):
            condition = self.items(("\\}",))
            self.expect("\\}")
            return Node("builder", (first, condition))
        self.expect("\\}")
        return Node("seq", ("{", "}", *items_of(first)))

    def matrix(self, name: str) -> Node:
        if name == "cases":
            raise NotCovered("a distinction of cases")
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while True:
            token = self.next()
            if token.kind == "end":
                break
            if token.kind == "op" and token.text == "&":
                continue
            if token.kind == "op" and token.text == "\\\\":
                rows.append(tuple(row))
                row = []
                continue
            self.at -= 1
            row.append(self.sum())
        rows.append(tuple(row))
        kept = tuple(row for row in rows if row)
        if not kept or len({len(row) for row in kept}) != 1:
            self.fail("an uneven matrix")
        if name == "vmatrix":
            return Node("fn", ("det", Node("matrix", kept)))
        return Node("matrix", kept)

    def unit(self) -> str | None:
        """Words after a value, with powers and quotients, if they are harmless."""
        start, parts = self.at, []
        while (token := self.peek()) is not None:
            words = token.kind == "text" and not (
                SEPARATOR.match(token.text) or CONDITION.match(token.text)
            )
            if words:
                parts.append(token.text)
                self.at += 1
            elif parts and self.is_op("^"):
                self.at += 1
                power = self.group()
                parts.append("^" + unit_power(power))
            elif parts and self.is_op("/", "*") and self.unit_follows():
                parts.append(self.next().text)
            elif token.kind == "frac" and (quotient := self.unit_quotient()):
                parts.append(quotient)
            else:
                break
        words_of = " ".join(parts)
        if not parts or not harmless(words_of):
            self.at = start
            if parts:
                self.fail(f"the words {words_of!r}")
            return None
        return words_of

    def unit_quotient_follows(self) -> bool:
        start = self.at
        token = self.peek()
        found = token is not None and token.kind == "frac" and self.unit_quotient()
        self.at = start
        return bool(found)

    def unit_quotient(self) -> str:
        """`\\frac{\\text{km}}{\\text{h}}`, or nothing."""
        tokens = self.tokens[self.at + 1 : self.at + 7]
        shape = [t.text if t.kind == "op" else "unit" for t in tokens]
        words = [t.text for t in tokens if t.kind in ("text", "sym")]
        if shape != ["{", "unit", "}"] * 2 or tokens[1].kind != "text":
            return ""
        self.at += 7
        return f"{words[0]} / {words[1]}"

    def unit_follows(self) -> bool:
        follows = self.tokens[self.at + 1 : self.at + 2]
        if follows and follows[0].kind == "sym" and follows[0].text in UNIT_LETTERS:
            self.tokens[self.at + 1] = Token("text", follows[0].text)
            return True
        return bool(follows) and follows[0].kind == "text"

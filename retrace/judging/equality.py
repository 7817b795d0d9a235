"""Is this answer equal to that reference? In layers, cheapest first.

A layer says equal, unequal, or "not mine", and then the next is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from retrace.judging import latex, numbers, phrases
from retrace.judging.answers import Comparison
from retrace.judging.rounding import Rounding, same
from retrace.judging.tidy import key, tidy
from retrace.judging.tokens import NotCovered, NotMine, is_ambiguous
from retrace.judging.values import TooLarge
from retrace.judging.words import plain_words
from retrace.judging.worker import uncharged

UNCOVERED = "uncovered"
"""What the reader leaves to `math-verify`: well-formed, but not its subject."""

NOT_MINE = "none"
"""What decided where no layer understood one of the sides."""

MAX_LENGTH = 4000
"""Longer answers are compared as texts only: no reference is that long."""


@dataclass(frozen=True)
class Decision:
    """equal is None where no layer could read the two sides."""

    equal: bool | None
    by: str
    detail: str = ""


def quick(gold: str, answer: str, rounding: Rounding = "written") -> Decision | None:
    """The layers that are linear in the input: texts, then plain numbers."""
    if gold == answer:
        return Decision(True, "text")
    if len(answer) > MAX_LENGTH:
        return Decision(False, "text", f"the answer has {len(answer)} characters")
    tidy_gold, tidy_answer = tidy(gold), tidy(answer)
    if not tidy_answer:
        return Decision(False, "text", "the answer is empty")
    if key(tidy_gold) == key(tidy_answer):
        return Decision(True, "text")
    words = _sentence(tidy_gold)
    if words and words == _sentence(tidy_answer):
        return Decision(True, "text")
    one, other = numbers.read(tidy_gold), numbers.read(tidy_answer)
    if one is None or other is None:
        return None
    if same(one, other, rounding):
        return Decision(True, "number")
    return Decision(False, "number", f"{one.value} is not {other.value}")


def structural(gold: str, answer: str, rounding: Rounding = "written") -> Decision:
    """Our own reader: tuples, sets, intervals, relations, expressions, units, words."""
    tidy_gold, tidy_answer = tidy(gold), tidy(answer)
    option = _option(tidy_gold, tidy_answer)
    if option is not None:
        return option
    said = _same_saying(tidy_gold, tidy_answer)
    if said is not None:
        return said
    comma = _decimal_comma(tidy_gold, tidy_answer, rounding)
    if comma is not None:
        return comma
    tidy_gold, letter = phrases.without_integer(phrases.formula(tidy_gold))
    tidy_answer, name = phrases.without_integer(phrases.formula(tidy_answer))
    decided, why = False, ""
    for one in _readings(tidy_gold):
        for other in _readings(tidy_answer):
            try:
                nodes = phrases.same_integer(
                    latex.read(*one), letter, latex.read(*other), name
                )
                if Comparison(rounding).equal(*nodes):
                    return Decision(True, "structure")
                decided = True
            except NotCovered as error:
                return Decision(None, UNCOVERED, str(error))
            except TooLarge as error:
                decided, why = True, str(error)
            except (NotMine, ArithmeticError) as error:
                why = str(error)
    if decided:
        return Decision(False, "structure", why or "they differ")
    return Decision(None, "structure", why)


_SENTENCE = re.compile(r"[A-Za-z0-9\s,.'-]*[A-Za-z]{3}[A-Za-z0-9\s,.'-]*")
_NO_POINT = re.compile(r"[,'-]|\.(?!\d)")


def _sentence(tidied: str) -> str:
    """The words of a text that is nothing but words and numbers, one word at least of
    three letters.
    """
    plain = phrases.UPRIGHT.sub(r" \1 ", tidied)
    if not _SENTENCE.fullmatch(plain):
        return ""
    if any(map(str.isdigit, plain)):
        return " ".join(_NO_POINT.sub(" ", plain).casefold().split())
    return plain_words(plain)


def _readings(tidied: str) -> list[tuple[str, bool]]:
    if is_ambiguous(tidied):
        return [(tidied, True), (tidied, False)]
    return [(tidied, True)]


_STYLE = r"(?:\\(?:text|textbf|mathrm|mathbf|bf)\s*\{)?\s*"
_LETTER = re.compile(rf"{_STYLE}(?:[Oo]ption|[Cc]hoice)?\s*\(?([A-P])\)?\s*\}}?")
_OPTION = re.compile(
    rf"{_STYLE}(?:\(([A-P])\)|([A-P])[.:)](?![A-Za-z0-9]))"
    r"(?!\s*(?:\([A-P]\)|(?:or|and|[,;/&])\s*\(?[A-P]\b))"
)


def _option(gold: str, answer: str) -> Decision | None:
    """A letter against a letter with its option's text: `(E)` and `(E) Hyperbola`."""
    letters = [_LETTER.fullmatch(side) for side in (gold, answer)]
    if letters[0] and letters[1] and letters[0][1] == letters[1][1]:
        return Decision(True, "option")
    for one, other in ((gold, answer), (answer, gold)):
        letter, option = _LETTER.fullmatch(one), _OPTION.match(other)
        if letter and option:
            equal = letter.group(1) == (option.group(1) or option.group(2))
            return Decision(equal, "option", "" if equal else "another option's letter")
    return None


_TIME = re.compile(
    r"(\d{1,2}):(\d\d)\s*(?:\\(?:text|mathrm)\s*\{)?\s*(?:([ap])\.?\s*m\b\.?)?\s*\}?",
    re.IGNORECASE,
)
_SEVERAL_OPTIONS = re.compile(r"[A-H](?:(?:[\s,;]|and)*[A-H])+")


def _same_saying(gold: str, answer: str) -> Decision | None:
    """Times of day, several options such as `BD`, an explained yes or no."""
    times = [_TIME.fullmatch(side) for side in (gold, answer)]
    if times[0] and times[1]:
        one, other = times[0].groups(), times[1].groups()
        halves = {half.casefold() for half in (one[2], other[2]) if half}
        if halves:
            equal = one[:2] == other[:2] and len(halves) == 1
            return Decision(equal, "structure", "" if equal else "another time")
    plain = [phrases.UPRIGHT.sub(r"\1", side).strip() for side in (gold, answer)]
    if all(_SEVERAL_OPTIONS.fullmatch(side) for side in plain) and plain[0] != plain[1]:
        chosen = [re.findall("[A-H]", side) for side in plain]
        distinct = all(len(set(side)) == len(side) for side in chosen)
        if distinct and any(side.isalpha() and side.isupper() for side in plain):
            equal = set(chosen[0]) == set(chosen[1])
            if equal:
                return Decision(True, "option")
    words = [phrases.explained(side) for side in (gold, answer)]
    if words[0] and words[1]:
        return Decision(words[0] == words[1], "structure")
    return None


def _decimal_comma(gold: str, answer: str, rounding: Rounding) -> Decision | None:
    """`1,22` against `1.22`: the side with a point says what the comma is."""
    for one, other in ((gold, answer), (answer, gold)):
        number, comma = numbers.read(one), numbers.decimal_comma(other)
        if number is not None and number.places is not None and comma is not None:
            pair = (number, comma) if one is gold else (comma, number)
            if same(*pair, rounding):
                return Decision(True, "number", "a decimal comma")
    return None


_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")
_NAMED = re.compile(r"\\(?:text|mathrm|textbf|operatorname)\s*\{[^{}]*\}")


def is_formula(text: str) -> bool:
    """Whether a text is mathematics throughout: words make `math-verify` guess."""
    balanced = text.count("{") == text.count("}")
    return balanced and text.isascii() and not _WORDS.search(_NAMED.sub(" ", text))


def symbolic_alone(gold: str, answer: str) -> bool:
    """What `math-verify` says without the other layers, for comparison."""
    return bool(symbolic(gold, answer).equal)


def symbolic(gold: str, answer: str) -> Decision:
    """What `math-verify` says. Runs in a worker only: it may hang or grow."""
    parse, verify = _math_verify()

    references = parse(f"$\\boxed{{{gold}}}$", parsing_timeout=None)
    answers = parse(f"$\\boxed{{{answer}}}$", parsing_timeout=None)
    if not references or not answers:
        return Decision(None, "math-verify", "it reads no mathematics here")
    equal = bool(verify(references, answers, timeout_seconds=None))
    return Decision(equal, "math-verify", "" if equal else "not equal")


def _math_verify() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The library's two functions; few shards need them, and they load slowly."""
    with uncharged():
        from math_verify import parse, verify  # type: ignore[import-untyped]
    return parse, verify


def slow(
    gold: str, answer: str, rounding: Rounding = "written"
) -> list[bool | str | None]:
    """The layers for a worker process, as JSON: equal, by, detail.

    Equal is None where the reference itself could not be read.
    """
    decision = structural(gold, answer, rounding)
    if decision.by == UNCOVERED and all(is_formula(tidy(t)) for t in (gold, answer)):
        second = symbolic(gold, answer)
        if second.equal is not None:
            return [second.equal, second.by, second.detail]
    if decision.equal is not None:
        return [decision.equal, decision.by, decision.detail]
    if _readable(gold):
        return [False, NOT_MINE, f"the answer was not understood: {decision.detail}"]
    return [None, NOT_MINE, f"the reference was not understood: {decision.detail}"]


def _readable(gold: str) -> bool:
    """Whether a layer understands a reference by itself."""
    tidied = tidy(gold)
    alone = structural(gold, f" {gold}")
    if alone.equal:
        return True
    if alone.by != UNCOVERED or not is_formula(tidied):
        return False
    parse, _verify = _math_verify()
    found = parse(f"$\\boxed{{{gold}}}$", parsing_timeout=None)
    return any(not isinstance(one, str) for one in found)

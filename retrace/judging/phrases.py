r"""What answers say in words or beside their value, as the formula it stands for.

Words for numbers and sets ("twelve", "no solution", "all real numbers"), approximations
and systems of equations beside or around a value, and the letter of a general solution,
which runs through the integers and may be any other letter.
"""

from __future__ import annotations

import re

from retrace.judging.naming import rename
from retrace.judging.tree import Node
from retrace.judging.words import NUMBERS, plain_words

UPRIGHT = re.compile(r"\\(?:text|mathrm|textbf|textit|mathbf)\s*\{([^{}]*)\}")
MAX_PHRASE = 60


def formula(tidied: str) -> str:
    """The formula that an answer stands for, or the answer as it is."""
    if len(tidied) <= MAX_PHRASE:
        tidied = _said(tidied)
    if "\\" not in tidied and not _SCALED.search(tidied) and "/" not in tidied:
        return tidied
    tidied = _APPROXIMATION.sub("", tidied) or tidied
    tidied = _SCALED.sub(lambda m: rf" \times 10^{{{_SCALES[m[1]]}}} ", tidied)
    tidied = _DEGREES.sub(lambda m: rf" \text{{{_TEMPERATURES[m[1]]}}}", tidied)
    tidied = _BARE_UNIT.sub(r" \\text{\1}", tidied)
    system = _SYSTEM.fullmatch(tidied)
    return _rows(system["rows"]) or tidied if system else tidied


def explained(tidied: str) -> str:
    """The yes or no that an answer such as "No, because 9 is odd" begins with."""
    match = _YES_OR_NO.match(UPRIGHT.sub(r" \1 ", tidied))
    if match is None or re.search(rf"\b{_OPPOSITES[match[1].casefold()]}\b", tidied):
        return ""
    return match[1].casefold()


# --- Words ----------------------------------------------------------------------------

_WORDY = re.compile(r"[A-Za-z\s.,'-]+")
_SETS = (
    (
        re.compile(
            r"(?:x (?:is |can be )?)?(?:all|any|every) real(?: numbers?| values?|s)?"
            r"(?: of x| x)?|set of (?:all )?real numbers"
        ),
        r"\mathbb{R}",
    ),
    (
        re.compile(
            r"(?:there (?:is|are) )?no (?:real |integer )?(?:solutions?|roots?)"
            r"(?: exists?)?|empty set"
        ),
        r"\varnothing",
    ),
    (re.compile(r"(?:positive )?infinity"), r"\infty"),
    (re.compile(r"(?:negative|minus) infinity"), r"-\infty"),
)
_YES_OR_NO = re.compile(r"\s*(yes|no|true|false)\s*(?:[,.;:]|$)", re.IGNORECASE)
_OPPOSITES = {"yes": "(?:no|not)", "no": "yes", "true": "false", "false": "true"}


def _said(tidied: str) -> str:
    text = UPRIGHT.sub(r" \1 ", tidied)
    if not _WORDY.fullmatch(text):
        return tidied
    words = plain_words(text)
    if words in NUMBERS:
        return str(NUMBERS[words])
    return next((sign for said, sign in _SETS if said.fullmatch(words)), tidied)


# --- Beside and around a value --------------------------------------------------------

_APPROXIMATION = re.compile(
    r"(?<=\S)\s*,?(?:\s|\\quad)*\(?\s*(?:"
    r"\\text\s*\{[\s,(]*(?:or\s+)?(?:about|approx(?:\.|imately)?|roughly)\b.*"
    r"|(?<=\()\s*\\approx[^()]*\))$"
)
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALED = re.compile(
    r"(?<=\d)\s*(?:\\text\s*\{)?\s*\b(thousand|million|billion|trillion)\b\s*\}?"
)
_TEMPERATURES = {"C": "celsius", "F": "fahrenheit"}
_DEGREES = re.compile(
    r"\s*\^\s*\{?\s*\\circ\s*\}?\s*(?:\\(?:text|mathrm)\s*\{)?\s*([CF])\b\s*\}?"
)
_BARE_UNIT = re.compile(
    r"(?<=[\d}])\s*((?:k?m|cm|mi|ft|k?g|rad)/(?:h|s|hr|min|c?m|m?L)"
    r"(?:\^(?:[23]|\{[23]\}))?)$"
)
_SYSTEM = re.compile(
    r"(?:\\\{)?\s*\\begin\{(?P<name>cases|aligned|align\*?|array|gathered|split)\}"
    r"(?:\{[clr|]*\})?(?P<rows>.*)\\end\{(?P=name)\}",
    re.DOTALL,
)
_ALIGNED = re.compile(r"&\s*(?==)|(?<==)\s*&")


def _rows(rows: str) -> str:
    """The equations of a system as a list, or nothing where a row is none."""
    found = [row.strip(" ,;.") for row in _ALIGNED.sub("", rows).split(r"\\")]
    found = [row for row in found if row]
    system = all("=" in row and "&" not in row for row in found)
    return ", ".join(found) if system else ""


# --- The integer of a general solution ------------------------------------------------

_GAP = r"(?:\s|\\[ ,;:!]|\\q?quad){0,4}"
_INTEGERS = (
    r"(?:\\math(?:bb|bf)\s*)?\{?\s*[ZN]\s*\}?(?:\s*[\^_]\s*(?:\{[^{}]{0,8}\}|[*+0-9]))?"
)
_IN_INTEGERS = re.compile(
    rf"{_GAP}[,;]?{_GAP}(?:\\text\s*\{{[\s,]*(?:for|where|with)?[^{{}}]{{0,16}}\}})?"
    rf"{_GAP}\(?\s*([a-zA-Z])\s*\\in\s*{_INTEGERS}\s*\)?\s*(?=\\\}}|[)\].]|$)"
)
_SAID_INTEGER = re.compile(
    rf"{_GAP}[,;(]?{_GAP}(?:\\text\s*\{{)?[\s,(]*(?:for|where|with)\b"
    r"(?:[^{}\\]{0,24}\bintegers?\s*\}?\s*([a-zA-Z])"
    r"|[^{}\\]{0,12}\}?\s*([a-zA-Z])\s*(?:\\text\s*\{)?\s*(?:is|being)?\s*an?\s+integers?)"
    r"\s*\}?\s*\)?\s*$"
)


def without_integer(tidied: str) -> tuple[str, str]:
    """An answer without "k in Z" at its end, and the letter, or no letter."""
    if "\\in" not in tidied and "integer" not in tidied:
        return tidied, ""
    for said in (_IN_INTEGERS, _SAID_INTEGER):
        match = said.search(tidied)
        if match and match.start():
            letter = next(group for group in match.groups() if group)
            return tidied[: match.start()] + tidied[match.end() :], letter
    return tidied, ""


def same_integer(
    gold: Node, gold_letter: str, answer: Node, answer_letter: str
) -> tuple[Node, Node]:
    """Both sides with one name for the integer that each of them declares."""
    if not gold_letter or not answer_letter or gold_letter == answer_letter:
        return gold, answer
    bound = "#integer"
    return rename(gold, {gold_letter: bound}), rename(answer, {answer_letter: bound})

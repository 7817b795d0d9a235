r"""Divides LaTeX answers into tokens, and tells formulas, units and words apart."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_TOKENS = 1500


class NotMine(ValueError):  # noqa: N818  not an error of anybody's
    """This reader does not cover the text."""


class NotCovered(NotMine):
    """A formula with something this reader leaves to another layer, such as a sum."""


class Token(NamedTuple):
    kind: str  # num, sym, fn, op, text, frac, sqrt, begin, end, inf, ctl
    text: str
    spaced: bool = False


def tokenize(text: str, grouped: bool) -> list[Token]:
    if grouped:
        text = _COMMA_GROUPS.sub(lambda m: m.group().replace(",", "{,}"), text)
    found: list[Token] = []
    position, spaced = 0, False
    while position < len(text):
        match = _PIECES.match(text, position)
        if not match:
            raise NotMine(f"the sign {text[position]!r}")
        position = match.end()
        if match["space"]:
            spaced = True
            continue
        for token in _classify(match, found):
            found.append(token._replace(spaced=spaced))
            spaced = False
        if len(found) > MAX_TOKENS:
            raise NotMine("more tokens than any answer has")
    return found


def is_ambiguous(tidied: str) -> bool:
    """Whether a comma may separate thousands or two numbers."""
    return bool(_AMBIGUOUS.search(tidied))


def harmless(words: str) -> bool:
    """Words that only name or measure: they change no value."""
    return len(words) <= MAX_UNIT and not _CHANGES_MEANING.search(words)


# --- Vocabulary -----------------------------------------------------------------------

_CHANGES_MEANING = re.compile(
    r"\b(?:not|no|non|never|less|fewer|more|greater|larger|smaller|least|most|than|minus"
    r"|negative|except|between|over|under|below|above|half|twice|double|times|dozen"
    r"|thousand|million|billion|none|infinite|undefined|does|cannot|any|all|every|each"
    r"|odd|even|or)\b",
    re.IGNORECASE,
)
CONDITION = re.compile(
    r"^[\s(,]*(?:for|where|when|whenever|if|with|such that|provided|as long as"
    r"|in which)\b",
    re.IGNORECASE,
)
_PHRASES = re.compile(r"([,;](?=\s|$)|\band\b|\bor\b)")
SEPARATOR = re.compile(r"^[,;]?\s*(?:and|or|and/or)\s*$", re.IGNORECASE)
MAX_UNIT = 40

_AMBIGUOUS = re.compile(r"(?<![\d.])[1-9]\d{0,2}(?:,\d{3})+(?![\d])")
_SPACE = r"(?:\\[,;:! ]|~|\s|\\q?quad(?![A-Za-z])|\\hspace\{[^{}]*\}|\{\})"
_NUMBER = (
    r"\d+(?:(?:\{,\}|,\\!\s?|\{\\,\}|\\[,!]|\\\s|~|\s(?=\d{3}(?!\d)))\d{3}(?!\d))*"
)
_DIGIT = "[0-9A-F]"
_BASED = (
    rf"\(\s*\d{_DIGIT}*\s*\)(?=\s*_\s*\{{?\s*(?:\(?\d|\\text))"
    rf"|(?:\\(?:text|mathrm)\{{\s*{_DIGIT}+\s*\}}|(?<![A-Za-z\\])(?:\d+[A-F]|[A-F]{_DIGIT})"
    rf"{_DIGIT}*)(?=\s*_\s*\{{?\s*1[1-6])"
)
"""A number in another base: in brackets, or with letters for digits above nine."""
_PIECES = re.compile(
    rf"""(?P<space>{_SPACE}+)
    |(?P<based>{_BASED})
    |(?P<num>{_NUMBER}(?:\.\d+|\.(?!\d))?|\.\d+)
    |\\(?:text|mathrm|textbf|textit|mathbf|mathit|mathsf|mathcal|mathbb|bm|boldsymbol
        |textsf|hat|bar|vec|overline|underline|overrightarrow|widehat|tilde|dot|ddot
        )(?![A-Za-z])\s*(?:\{{(?P<text>(?:[^{{}}]|\{{[^{{}}]*\}})*)\}}|(?P<one>[A-Za-z0-9]))
    |\\(?P<env>begin|end)\{{(?P<name>[a-z]*matrix|array|cases)\*?\}}(?:\{{[clr|]*\}})?
    |\\(?P<cmd>[A-Za-z]+)
    |(?P<op>\*\*|<=|>=|!=|==|->|\\[{{}}%$\\|\#&_]|[!-@\[\]^_`{{|}}~])
    |(?P<word>[A-Za-z\u00c0-\u024f]+)
    |(?P<foreign>[\u0370-\uffff]+)""",
    re.VERBOSE,
)
_COMMA_GROUPS = re.compile(r"(?<![\d.,])([1-9]\d{0,2}(?:,\d{3})+)(?![\d,])")

_FUNCTIONS_NAMES = """
sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh
coth sech csch arcsinh arccosh arctanh ln log lg exp min max gcd lcm cis det
"""
FUNCTIONS = frozenset(_FUNCTIONS_NAMES.split())
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "tg": "tan"}
_GREEK_NAMES = """
alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa
lambda mu nu xi rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta
Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar aleph partial nabla odot oplus
circ prime varnothing angle triangle perp parallel star dagger ldots cdots dots
vdots Re Im
"""
_GREEK = frozenset(_GREEK_NAMES.split())
RELATIONS = {
    "=": "=",
    "==": "=",
    "<": "<",
    ">": ">",
    "<=": "<=",
    ">=": ">=",
    "!=": "!=",
    "leq": "<=",
    "geq": ">=",
    "neq": "!=",
    "approx": "~",
    "simeq": "~",
    "equiv": "=",
    "in": "in",
    "to": "to",
    "rightarrow": "to",
    "->": "to",
}
_OPERATORS = {"cdot": "*", "times": "*", "ast": "*", "div": "/", "pm": "pm", "mp": "mp"}
_SETOPS = {"cup": "cup", "cap": "cap", "setminus": "minus", "backslash": "minus"}
_BRACKETS = {
    "lceil": "lceil",
    "rceil": "rceil",
    "lfloor": "lfloor",
    "rfloor": "rfloor",
    "langle": "langle",
    "rangle": "rangle",
}
_STYLES_OF_TEXT = re.compile(r"\\(?:text|mathrm|textbf|textit|textsf)")
_FONTS = frozenset({"\\mathbf", "\\mathit", "\\mathsf", "\\bm", "\\boldsymbol"})
_NUMBER_SETS = frozenset("RZNQC")
_OF_VECTORS = frozenset({"\\mathbf", "\\bm", "\\boldsymbol", "\\vec", "\\hat"})
_BASIS = {"i": "i", "j": "j", "k": "k", "\\imath": "i", "\\jmath": "j"}
_KNOWN = sorted(
    (
        *_GREEK,
        *FUNCTIONS,
        *_ALIASES,
        *(name for name in RELATIONS if name.isalpha()),
        *_OPERATORS,
        *_SETOPS,
        *_BRACKETS,
        "pi",
        "infty",
        "frac",
        "sqrt",
        "binom",
    ),
    key=len,
    reverse=True,
)
_UNITS_NAMES = """
mm cm dm km nm kg mg ml mL hr min sec ft yd mi lb oz mph kph kmh ms Hz kHz MHz
eV keV MeV kJ kW kPa Pa mol rad deg th st nd rd
"""
UNITS = frozenset(_UNITS_NAMES.split())
_REFUSED_NAMES = """
int iint oint sum prod lim limsup liminf lnot not notin pmod bmod mod inf sup arg dim
ker input include def let
"""
_REFUSED = frozenset(_REFUSED_NAMES.split())
UNIT_LETTERS = frozenset("msghNJWVAKCLFTB")
_BEFORE_UNIT = frozenset(("}", "/", "*", ")", "%"))
_SEPARATING = frozenset({"and", "or"})


# --- Kinds of tokens ------------------------------------------------------------------


def _classify(match: re.Match[str], before: list[Token]) -> list[Token]:
    if match["based"]:
        return [Token("num", re.findall(f"{_DIGIT}+", match["based"])[-1])]
    if match["num"]:
        return [Token("num", match["num"])]
    if match["env"]:
        return [Token(match["env"], match["name"])]
    if match["cmd"]:
        return _command(match["cmd"])
    if match["op"]:
        return [Token("op", RELATIONS.get(match["op"], match["op"]))]
    if match["foreign"]:
        return [Token("text", match["foreign"])]
    if match["word"]:
        return _word(match["word"], before)
    return _styled(match, before)


def _styled(match: re.Match[str], before: list[Token]) -> list[Token]:
    content = match["text"] if match["text"] is not None else match["one"] or ""
    style = re.match(r"\\[a-z]+", match.group())
    assert style is not None
    plain = re.sub(_SPACE, " ", content).strip()
    if style.group() in _OF_VECTORS and plain in _BASIS:
        return [Token("sym", f"vec:{_BASIS[plain]}")]
    if style.group() in _FONTS and plain not in _NUMBER_SETS:
        return tokenize(content, True)
    if not _STYLES_OF_TEXT.fullmatch(style.group()):
        return [Token("sym", f"{style.group()[1:]}:{plain}")]
    if len(plain) == 1 and plain.isascii() and plain.isalpha():
        unit = plain in UNIT_LETTERS and before and before[-1].text in _BEFORE_UNIT
        number = plain in UNIT_LETTERS and before and before[-1].kind in ("num", "text")
        return [Token("text" if unit or number else "sym", plain)]
    if re.fullmatch(r"[-+]?\d[\d.,;/ ]*", plain):
        return tokenize(plain, True)
    counted = re.fullmatch(r"([-+]?\d[\d.,/]*)\s+(\D+)", plain)
    if counted:
        return [*tokenize(counted[1], True), _phrase(counted[2])]
    if plain in UNITS and before and before[-1].kind == "num":
        return [Token("text", plain)]
    if plain.casefold() in FUNCTIONS:
        return [Token("fn", plain.casefold())]
    if CONDITION.match(plain) or not plain:
        return [Token("text", plain)] if plain else []
    pieces = (piece.strip() for piece in _PHRASES.split(plain))
    return [_phrase(piece) for piece in pieces if piece]


def _phrase(piece: str) -> Token:
    return Token("op", piece) if piece in (",", ";") else Token("text", piece)


def _command(name: str) -> list[Token]:
    """A command; one that lost the space after it is divided again."""
    token = _known_command(name)
    if token is not None:
        return [token]
    if name in _REFUSED:
        raise NotCovered(f"the command \\{name}")
    for prefix in _KNOWN:
        rest = name[len(prefix) :]
        if name.startswith(prefix) and (len(rest) <= 2 or rest.isupper()):
            first = _known_command(prefix)
            assert first is not None
            return [first, *(Token("sym", c) for c in name[len(prefix) :])]
    # `math-verify` would drop what it does not know, and compare the rest.
    raise NotMine(f"the unknown command \\{name}")


def _known_command(name: str) -> Token | None:
    if name in FUNCTIONS or name in _ALIASES:
        return Token("fn", _ALIASES.get(name, name))
    if name in _GREEK:
        return Token("sym", "dots" if name.endswith("dots") else name)
    if name in RELATIONS:
        return Token("op", RELATIONS[name])
    for table in (_OPERATORS, _SETOPS, _BRACKETS):
        if name in table:
            return Token("op", table[name])
    if name in ("frac", "sqrt", "binom", "overset", "underset"):
        return Token("frac" if name == "frac" else name, name)
    if name == "pi":
        return Token("sym", "pi")
    if name == "infty":
        return Token("inf", name)
    if name in ("rm", "bf", "it"):
        return Token("ctl", name)
    return None


def _word(word: str, before: list[Token]) -> list[Token]:
    """Letters in formula mode: a function, a word, a unit, or a product of letters."""
    name = _ALIASES.get(word, word)
    if name in FUNCTIONS:
        return [Token("fn", name)]
    if word in ("pi", "theta", "alpha", "beta", "lambda"):
        return [Token("sym", word)]
    if word in ("sqrt", "infty", "infinity", "inf", "oo"):
        return [Token("sqrt" if word == "sqrt" else "inf", word)]
    after_number = bool(before) and before[-1].kind == "num"
    if word in _SEPARATING or len(word) >= 4 or (word in UNITS and after_number):
        return [Token("text", word)]
    return [Token("sym", letter) for letter in word]

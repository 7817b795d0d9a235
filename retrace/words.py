r"""The words of a text, whatever its typesetting.

Two copies of a problem seldom agree in their characters: one has `\frac{1}{2}`, the
other 1/2; one writes 10{,}080, the other 10,080. Here both become the same words. Used
wherever texts are compared: rewrites with traces, problems with problems.

Multiplication and division leave no word ("3/4", "\frac{3}{4}" and "3 \cdot 4" are all
`3 4`); plus, minus and relations do.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata

VARIABLE = "·"
"""Stands for every variable where `fold` is asked for: letters, Greek, points."""


def words(text: str, fold: bool = False) -> list[str]:
    """The words of a text, in order: lower-case words, numbers, signs.

    With `fold` every variable becomes `VARIABLE`, so renaming changes nothing: single
    letters (the article "a" with them), numbered ones, Greek letters, and points like
    ABC. Degrees, which are as often a mere sign, leave no word then.
    """
    table = _FOLDED if fold else _PLAIN
    return [word for token in tokens(text, fold) if (word := table[token])]


def tokens(text: str, fold: bool = False) -> list[str]:
    """The raw tokens of a text, to be looked up in `canonical`."""
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
    if not text.isascii():
        text = _UNSEEN.sub("", text)
        text = _THIN_SPACE.sub(",", text)
        # 10² is 10 and 2, not 102.
        text = _RAISED.sub(r" \g<0>", text)
        text = _LOWERED.sub(r"_\g<0>", text)
        text = unicodedata.normalize("NFKC", text)
        text = _SIGN.sub(lambda match: _SIGNS[match.group()], text)
    if "[asy]" in text:
        text = _DRAWING.sub(" ", text)
    if fold:
        text = _INDEX.sub(r"\1 ", text)
    if _SHOUTING.search(text):
        parts = text.split("\n\n")
        text = "\n\n".join(p.lower() if _is_shouted(p) else p for p in parts)
    if "\\" in text:
        text = _COMMAND_MINUS.sub(r"\1 ", text)
    if "\\frac" in text or "\\dfrac" in text or "\\tfrac" in text or "\\sqrt" in text:
        text = _BARE_ARGUMENTS.sub(r"\1 \2 \3", text)
    return _TOKEN.findall(text)


def drawings(text: str) -> list[str]:
    """The Asymptote drawings of a text, without their tags; `words` leaves them out."""
    return _DRAWING.findall(text) if "[asy]" in text else []


def canonical(token: str, fold: bool) -> str:
    """The word that a token stands for; empty if it is typesetting alone."""
    if token[0] == "\\":
        return _command(token, fold)
    if token[0].isdigit():
        return _number(token)
    if token in _RELATIONS:
        return _RELATIONS[token]
    if "'" in token or "’" in token:
        return re.sub("['’]", "", token).lower()
    if token in _BARE:
        return ""
    if token.isalpha():
        if fold and _is_variable(token):
            return VARIABLE
        word = token.lower()
        if fold and word in ("degree", "degrees"):
            return ""
        return _NUMERALS.get(word, _GREEK_LETTERS.get(word, word))
    return token


def is_number(word: str) -> bool:
    return word[0].isdigit()


def is_plain(word: str) -> bool:
    """Whether a word carries meaning of its own: neither number, sign nor variable."""
    return word[0].isalpha() and word != VARIABLE


def stable_hash(word: str) -> int:
    """64 bits that do not change between processes."""
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


class _Table(dict[str, str]):
    """Token to word; each token is worked out once."""

    def __init__(self, fold: bool) -> None:
        super().__init__()
        self._fold = fold

    def __missing__(self, token: str) -> str:
        word = canonical(token, self._fold)
        if len(self) < _TABLE_LIMIT:
            self[token] = word
        return word


_TABLE_LIMIT = 1_000_000
_PLAIN = _Table(fold=False)
_FOLDED = _Table(fold=True)

_TOKEN = re.compile(
    r"""
      [a-zA-Z]+ (?![^\W\d_]) (?: ['’][a-zA-Z]+ )*
    | \d+ (?: (?: , | \{,?\} | \\,\\! | ,\\! | \\, | \\! ) \d{3} (?!\d) )* (?: \.\d+ )?
    | \\(?:begin|end)\s*\{[a-zA-Z*]+\}
    | \\[a-zA-Z]+
    | [^\W\d_]+
    | [<>]=? | !=
    | [+=]
    | (?<!-)(?<![A-Za-z]{3}(?=-[A-Za-z]))-(?=\s*(?:[\d\\(${]|[A-Za-z](?![A-Za-z])))
    | (?<=[\d)}])!
    """,
    re.VERBOSE,
)
_DRAWING = re.compile(r"\[asy\](.*?)\[/asy\]", re.DOTALL)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_THIN_SPACE = re.compile(r"(?<=\d)[\u2009\u202f\u00a0](?=\d{3}(?!\d))")
_RAISED = re.compile("[⁰¹²³⁴-⁹]+")
_LOWERED = re.compile("[₀-₉]+")
_TAG = re.compile(
    r"</?(?:p|br|div|span|em|strong|su[bp]|[ou]l|li|pre|code|table|t[dr])\b[^<>\n]{0,80}>",
    re.IGNORECASE,
)
_INDEX = re.compile(r"((?<![A-Za-z\\])[A-Za-z])(?:_\{?)?\d{1,2}(?![\d.,]?\d)")
"""The number of a numbered variable: x_1, x_{1}, x1."""
_COMMAND_MINUS = re.compile(r"(\\[a-zA-Z]+)(?=-)")
_SHOUTING = re.compile(r"[A-Z]{5}")
_ENTITY = re.compile(r"&(?:#\d{1,6}|[a-zA-Z]{2,8});")
_BARE_ARGUMENTS = re.compile(r"(\\[dt]?frac|\\sqrt)\s*(\d)(\d?)")
_SIGNS = {
    "−": "-", "–": "-", "—": " ", "×": " ", "⋅": " ", "÷": " ", "≤": " \\le ",
    "≥": " \\ge ", "≠": " \\ne ", "±": " \\pm ", "√": " \\sqrt ", "∠": " \\angle ",
    "∞": " \\infty ", "△": " \\triangle ", "∪": " \\cup ", "∩": " \\cap ",
    "∈": " \\in ", "→": " \\to ", "∑": " \\sum ", "∫": " \\int ",
}  # fmt: skip
_SIGN = re.compile("[" + "".join(_SIGNS) + "]")

_TYPESETTING_NAMES = """
    begin end left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr middle
    text textbf textit textrm texttt textsc textnormal mbox hbox emph underline
    mathrm mathbf mathit mathsf mathtt mathcal mathbb mathfrak boldsymbol bm rm bf it
    operatorname displaystyle textstyle scriptstyle limits nolimits quad qquad hspace
    vspace space hfill phantom hphantom vphantom label tag nonumber noindent newline
    item hline frac dfrac tfrac cfrac over cdot times div ast displaylines
    ldots cdots dots vdots ddots dotsc dotsb colon mid vert lvert rvert Vert lVert rVert
    overline bar vec hat widehat tilde widetilde overrightarrow boxed fbox
    lbrace rbrace lbrack rbrack langle rangle circ degree
    """
_TYPESETTING = frozenset(_TYPESETTING_NAMES.split())
_BARE_NAMES = """
    frac dfrac tfrac cfrac mathbf mathrm mathbb cdot overline boxed textbf operatorname
    displaystyle qquad ldots cdots pmatrix bmatrix vmatrix
    """
_BARE = frozenset(_BARE_NAMES.split())
"""Commands that lost their backslash, as far as they are no English words."""
_RENAMED = {
    "leq": "<", "le": "<", "leqslant": "<", "lt": "<", "geq": ">", "ge": ">",
    "geqslant": ">", "gt": ">", "neq": "ne", "binom": "choose", "dbinom": "choose",
    "tbinom": "choose", "infty": "infinity", "land": "and", "lor": "or",
    "to": "rightarrow",
}  # fmt: skip
_GREEK_NAMES = """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda
    mu nu xi rho sigma tau upsilon phi varphi chi psi omega ell Gamma Delta Theta Lambda
    Xi Sigma Phi Psi Omega
    """
_GREEK = frozenset(_GREEK_NAMES.split())
_SMALL = "alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi pi"
_SMALL += " rho sigma tau upsilon phi chi psi omega"
_GREEK_LETTERS = {
    unicodedata.lookup(f"GREEK SMALL LETTER {name}"): name.replace("lamda", "lambda")
    for name in _SMALL.split()
}
_RELATIONS = {"<=": "<", ">=": ">", "!=": "ne"}
_NUMERALS = {
    "zero": "0", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10", "eleven": "11",
    "twelve": "12",
}  # fmt: skip


def _command(token: str, fold: bool) -> str:
    name = token[1:]
    if name in _TYPESETTING or "{" in name:
        return ""
    if fold and name in _GREEK:
        return VARIABLE
    name = name.removeprefix("var") if name in _GREEK else name
    return _RENAMED.get(name, name.lower())


def _is_shouted(text: str) -> bool:
    """Whether a text is all in capitals, which then name no points."""
    start = text[:400]
    capitals = sum(map(str.isupper, start))
    much = capitals > 8 and capitals > 4 * sum(map(str.islower, start))
    return much and _SHOUTING.search(start) is not None


def _number(token: str) -> str:
    whole, _, decimals = re.sub(r"[^\d.]", "", token).partition(".")
    decimals = decimals.rstrip("0")
    whole = whole.lstrip("0") or "0"
    return f"{whole}.{decimals}" if decimals else whole


def _is_variable(token: str) -> bool:
    if len(token) == 1:
        return token != "π"
    return token.isupper() and len(token) <= 4

r"""Rewrite the layout of a LaTeX answer away, and never its meaning."""

from __future__ import annotations

import re
import unicodedata


def tidy(text: str) -> str:
    """One spelling for what is only layout: spaces, sizes, delimiters, look-alikes."""
    text = _SKIPS.sub(r"\\\\\\\\ ", _repair(text))
    text = _unicode(text)
    text = _FORMULA.sub(" ", text)
    text = _LAYOUT.sub("", text)
    text = _SIZES.sub("", text)
    text = _FRACTIONS.sub(r"\\frac", text)
    text = _SYNONYM.sub(lambda match: _SYNONYMS[match.group()], text)
    text = _turned_brackets(_DOTS.sub(r"\\ldots ", text))
    text = _STOP.sub("", _SPACES.sub(" ", text)).strip()
    while text.endswith((".", ";", ",", "\\")):
        text = text[:-1].rstrip()
    return text


def key(tidied: str) -> str:
    """A text for comparison only: spaces gone, but for those that part two numbers;
    braces of single tokens gone.
    """
    text = _WORDSPACE.sub(_between_numbers, tidied)
    return _SINGLE.sub(r"\1\2", text)


def _turned_brackets(text: str) -> str:
    """`]1, 2]` and `[1, 2[`, where a bracket turned outwards is an open end."""
    if "[" not in text and "]" not in text:
        return text
    return _ENDS.sub(_usual_brackets, text)


def _usual_brackets(match: re.Match[str]) -> str:
    opening, inside, closing = match.groups()
    if (opening, closing) == ("[", "]"):
        return match.group()
    low, high = "(" if opening == "]" else "[", ")" if closing == "[" else "]"
    return f"{low}{inside}{high}"


def _between_numbers(space: re.Match[str]) -> str:
    before, after = space.string[: space.start()][-1:], space.string[space.end() :][:1]
    parts = before.isdigit() and after.isdigit() and space.group() != "\\!"
    return " " if parts else ""


# --- Rules ----------------------------------------------------------------------------

_FORMULA = re.compile(r"(?<!\\)\$+|\\\[|\\\]|\\\(|\\\)")
_LAYOUT = re.compile(
    r"\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|nonumber|hfill|allowbreak)"
    r"(?![A-Za-z])"
)
_SIZES = re.compile(r"\\(?:left|right|[bB]ig{1,2}[lrm]?)(?![A-Za-z])\s*(?:\.(?!\d))?")
_FRACTIONS = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_SKIPS = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm|in)\s*\]")
_DOTS = re.compile(r"\.\.\.+")
_INSIDE = r"([^\[\]()]{1,200}?[,;][^\[\]()]{1,200}?)"
_ENDS = re.compile(
    rf"(\[|(?<![\w.}})\]])\]){_INSIDE}"
    r"(\]|\[(?=\s*(?:$|[,;.)}|]|\\(?:cup|cap|setminus|text|quad)|and\b|or\b)))"
)
_STOP = re.compile(r"(?<![.\d])\.(?=\s*\\?[)\]}])")
_SPACES = re.compile(r"\s+")
_WORDSPACE = re.compile(r"(?:\s|\\[,;:! ](?!\d{3})|\\q?quad(?![A-Za-z])|~)+")
_SINGLE = re.compile(r"([\^_])\{([A-Za-z0-9])\}")

_SYNONYMS = {
    r"\leqslant": r"\leq",
    r"\leqq": r"\leq",
    r"\geqq": r"\geq",
    r"\degree": r"^\circ",
    r"\textdegree": r"^\circ",
    r"\dotsc": r"\dots",
    r"\dotsb": r"\dots",
    r"\geqslant": r"\geq",
    r"\le": r"\leq",
    r"\ge": r"\geq",
    r"\lt": "<",
    r"\gt": ">",
    r"\ne": r"\neq",
    r"\lbrace": r"\{",
    r"\rbrace": r"\}",
    r"\lbrack": "[",
    r"\rbrack": "]",
    r"\mid": "|",
    r"\vert": "|",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\operatorname": r"\mathrm",
    r"\mbox": r"\text",
    r"\textrm": r"\text",
    r"\textnormal": r"\text",
    r"\cdotp": r"\cdot",
    r"\emptyset": r"\varnothing",
    r"\bigcup": r"\cup",
    r"\bigcap": r"\cap",
    r"\infin": r"\infty",
    r"\land": r"\wedge",
    r"\lor": r"\vee",
}
_SYNONYM = re.compile(
    r"(?:"
    + "|".join(re.escape(name) for name in sorted(_SYNONYMS, key=len, reverse=True))
    + r")(?![A-Za-z])"
)

_CHARACTERS = {
    "−": "-",
    "–": "-",
    "—": "-",
    "‐": "-",
    "‑": "-",
    "⁻": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "÷": r"\div ",
    "≤": r"\leq ",
    "⩽": r"\leq ",
    "≥": r"\geq ",
    "⩾": r"\geq ",
    "≠": r"\neq ",
    "≈": r"\approx ",
    "±": r"\pm ",
    "∓": r"\mp ",
    "∞": r"\infty ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "∅": r"\varnothing ",
    "π": r"\pi ",
    "θ": r"\theta ",
    "α": r"\alpha ",
    "β": r"\beta ",
    "γ": r"\gamma ",
    "λ": r"\lambda ",
    "μ": r"\mu ",
    "ω": r"\omega ",
    "φ": r"\phi ",
    "τ": r"\tau ",
    "σ": r"\sigma ",
    "°": r"^\circ ",
    "˚": r"^\circ ",
    "º": r"^\circ ",
    "∘": r"\circ ",
    "√": r"\sqrt ",
    "ℝ": r"\mathbb{R} ",
    "ℤ": r"\mathbb{Z} ",
    "ℕ": r"\mathbb{N} ",
    "ℚ": r"\mathbb{Q} ",
    "，": ", ",
    "。": ".",
    "：": ":",
    "；": ";",
    "（": "(",
    "）": ")",
    "＜": "<",
    "＞": ">",
    "＝": "=",
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
    "…": r"\ldots ",
    "′": "'",
    "’": "'",
}
_TABLE = str.maketrans(_CHARACTERS)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺ⁿ", "0123456789+n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-")
_SUPER = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?)")
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CIRCLED = re.compile("[\u2460-\u2473]+")
_SUB = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋]+")


_ESCAPES = {"\x07": r"\a", "\x08": r"\b", "\x0b": r"\v", "\x0c": r"\f"}
_LOST = re.compile("[\x07\x08\x0b\x0c](?=[A-Za-z])")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")


def _repair(text: str) -> str:
    r"""Give back backslashes that a string literal ate or doubled.

    `"\frac"` that was read as an escape begins with a form feed, which no answer holds;
    one that was escaped twice has two backslashes, which outside a matrix mean nothing.
    A tab may be just a space, so what it may once have been is left alone.
    """
    text = _LOST.sub(lambda match: _ESCAPES[match.group()], text)
    return text if "\\begin" in text else _DOUBLED.sub(r"\\", text)


def _unicode(text: str) -> str:
    """Signs with a LaTeX command become it; circled digits are listed; invisible
    characters go.

    Look-alike letters of other scripts stay what they are: a Cyrillic letter is not a
    variable of the reference.
    """
    if text.isascii():
        return text
    text = _ROOT.sub(r"\\sqrt{\1}", text)
    text = _SUPER.sub(lambda m: "^{" + _minus(m.group(), _RAISED) + "}", text)
    text = _SUB.sub(lambda m: "_{" + _minus(m.group(), _LOWERED) + "}", text)
    text = _CIRCLED.sub(
        lambda m: ", ".join(str(ord(c) - 0x245F) for c in m.group()), text
    )
    text = text.translate(_TABLE)
    return "".join(_plain_form(c) for c in text if _visible(c))


def _visible(character: str) -> bool:
    """Whether a sign is shown, or changes the order in which the others are read."""
    if character in _BIDIRECTIONAL or character in "\n\t":
        return True
    return unicodedata.category(character) not in ("Cf", "Cc")


def _minus(digits: str, table: dict[int, int]) -> str:
    return digits.replace("⁻", "-").replace("₋", "-").translate(table)


def _plain_form(character: str) -> str:
    """Full-width letters and digits as plain ones."""
    if "！" <= character <= "～" or character.isspace():
        return unicodedata.normalize("NFKC", character)
    return character

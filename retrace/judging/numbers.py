r"""Plain numbers in the ways they are written, as exact fractions.

Integers, decimals, thousands separators in plain text and in LaTeX, fractions, mixed
numbers, scientific notation and small powers, with an optional percent, degree or
currency sign. Everything else is `None`: not mine. No floating point anywhere, so 10001
is never 10000 and a zero is never a rounding error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 400
"""Longer numbers are compared as texts only."""

MAX_EXPONENT = 1200


@dataclass(frozen=True)
class Number:
    """A number as written.

    places: how many decimal places it was written with (negative after a power of
        ten: 1.5e3 has -2), or None for an integer, a fraction or a power, which are
        exact.
    digits: significant digits as written, for a decimal.
    """

    value: Fraction
    places: int | None = None
    digits: int = 0
    percent: bool = False
    degrees: bool = False


def read(text: str) -> Number | None:
    """The number that a tidied text is, or None when it is anything else."""
    if len(text) > MAX_DIGITS:
        return None
    body, percent, degrees = _marks(text.strip())
    negative = False
    while body[:1] in ("-", "+"):
        negative ^= body[0] == "-"
        body = body[1:].lstrip()
    body = _CURRENCY.sub("", body, count=1)
    number = _decimal(body) or _fraction(body) or _scientific(body) or _power(body)
    if number is None:
        return None
    value = -number.value if negative else number.value
    return Number(value, number.places, number.digits, percent, degrees)


def decimal_comma(text: str) -> Number | None:
    """A text such as `1,22` or `0,111` as a decimal, where the comma is its point."""
    if not _COMMA.fullmatch(text):
        return None
    return read(text.replace("{,}", ".").replace(",", "."))


# --- Forms ----------------------------------------------------------------------------

_SEPARATOR = (
    r"(?:,|\{,\}|\{,\\!\}|,\s?\\!\s?|\\,|\{\\,\}|\\[;:! ]|~|[ \u00a0\u2009\u202f'’])"
)
_GROUPED = re.compile(rf"([1-9]\d{{0,2}}(?:{_SEPARATOR}\d{{3}})+)((?:\.\d*)?)")
_SEPARATORS = re.compile(_SEPARATOR)
_PLAIN = re.compile(r"(\d+)|(\d*)\.(\d+)|(\d+)\.")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{(\d+)\}")
_DOTTED = re.compile(
    r"\\dot\s*(?:\{(?=\d\}))?(\d)\}?(?:(\d*)\\dot\s*(?:\{(?=\d\}))?(\d)\}?)?"
)
_GOES_ON = re.compile(r"(\d*)\.(\d+)\s*\\[lc]?dots")
_PERIOD = re.compile(r"(\d{1,40}?)\1\1+$")
_COMMA = re.compile(r"[-+]?\d+(?:,|\{,\})\d+")
_FRAC = re.compile(
    r"(\d*)\s*\\frac\s*(?:\{\s*([-+]?)\s*([^{}]+?)\s*\}|(\d))\s*"
    r"(?:\{\s*([-+]?)\s*([^{}]+?)\s*\}|(\d))"
)
_SLASH = re.compile(r"(?:(\d+)\s+)?([^\s/]+)\s*/\s*([^\s/]+)")
_SCIENTIFIC = re.compile(
    r"(.+?)\s*(?:\\times|\\cdot|\\ast|×|·|\*|\bx\b|⋅)\s*10\s*(?:\^|\*\*)\s*"
    r"(?:\{\s*([-+]?\s*\d+)\s*\}|\(\s*([-+]?\s*\d+)\s*\)|([-+]?\d+))"
)
_E_NOTATION = re.compile(r"(\d+\.?\d*|\.\d+)[eE]([-+]?\d+)")
_POWER = re.compile(
    r"(\d+)\s*(?:\^|\*\*)\s*(?:\{\s*([-+]?\d+)\s*\}|\(\s*([-+]?\d+)\s*\)|(\d))"
)
_PERCENT = re.compile(r"\s*(?:\\?%|percent(?:age)?|pct\.?)$", re.IGNORECASE)
_DEGREE = re.compile(r"\s*(?:\^\s*\{?\s*(?:\\circ|∘|°)\s*\}?|°|\\degree|\\deg)$")
_CURRENCY = re.compile(r"^(?:\\\$|\$|€|£|¥)\s*")
_TRAILING_CURRENCY = re.compile(r"\s*(?:€|£|¥|\\\$)$")


def _marks(text: str) -> tuple[str, bool, bool]:
    percent = _PERCENT.search(text)
    if percent:
        text = text[: percent.start()]
    degree = _DEGREE.search(text)
    if degree:
        text = text[: degree.start()]
    text = _TRAILING_CURRENCY.sub("", text)
    return text.strip(), percent is not None, degree is not None


def _decimal(text: str) -> Number | None:
    grouped = _GROUPED.fullmatch(text)
    if grouped and len(set(_SEPARATORS.findall(grouped.group(1)))) == 1:
        text = re.sub(r"\D", "", grouped.group(1)) + grouped.group(2)
    match = _PLAIN.fullmatch(text)
    if not match:
        return _repeating(text)
    if match.group(1) or match.group(4):
        return Number(Fraction(int(match.group(1) or match.group(4))))
    whole, decimals = match.group(2) or "0", match.group(3)
    digits = len((whole + decimals).lstrip("0"))
    value = Fraction(int(whole + decimals), 10 ** len(decimals))
    return Number(value, len(decimals), digits)


def _repeating(text: str) -> Number | None:
    """`0.1\\overline{6}`: the digits under the bar go on for ever."""
    text = _DOTTED.sub(r"\\overline{\1\2\3}", text)
    match = _REPEATING.fullmatch(text)
    return _periodic(*match.groups()) if match else _going_on(text)


def _going_on(text: str) -> Number | None:
    """`0.1666\\ldots`: digits that have come three times go on for ever; any others
    are those of a decimal.
    """
    match = _GOES_ON.fullmatch(text)
    if not match:
        return None
    period = _PERIOD.search(match[2])
    if period is None:
        return _decimal(f"{match[1]}.{match[2]}")
    return _periodic(match[1], match[2][: period.start()], period[1])


def _periodic(whole: str, head: str, tail: str) -> Number:
    shift, period = 10 ** len(head), 10 ** len(tail) - 1
    value = Fraction(int((whole or "0") + head)) + Fraction(int(tail), period)
    return Number(value / shift)


def _fraction(text: str) -> Number | None:
    match = _FRAC.fullmatch(text)
    if match:
        whole, sign, top, one, sign_below, below, one_below = match.groups()
        upper = _decimal(top or one or "")
        lower = _decimal(below or one_below or "")
        negative = (sign == "-") ^ (sign_below == "-")
    else:
        match = _SLASH.fullmatch(text)
        if not match:
            return None
        whole, upper, lower = match[1], _decimal(match[2]), _decimal(match[3])
        negative = False
    if upper is None or lower is None or lower.value == 0:
        return None
    value = upper.value / lower.value
    if whole:
        if value >= 1 or negative or upper.places is not None:
            return None
        value += int(whole)
    return Number(-value if negative else value)


def _scientific(text: str) -> Number | None:
    match = _E_NOTATION.fullmatch(text)
    if match:
        mantissa, exponent = _decimal(match[1]), int(match[2])
    else:
        match = _SCIENTIFIC.fullmatch(text)
        if not match:
            return None
        mantissa = _decimal(match[1])
        written = match[2] or match[3] or match[4]
        exponent = int(written.replace(" ", "")) if len(written) < 10 else 1 << 30
    if mantissa is None or abs(exponent) > MAX_EXPONENT:
        return None
    value = mantissa.value * Fraction(10) ** exponent
    places = None if mantissa.places is None else mantissa.places - exponent
    return Number(value, places, mantissa.digits)


def _power(text: str) -> Number | None:
    match = _POWER.fullmatch(text)
    if not match:
        return None
    base, written = int(match[1]), match[2] or match[3] or match[4]
    if len(written) > 6:
        return None
    exponent = int(written)
    if base.bit_length() * abs(exponent) > 4 * MAX_EXPONENT:
        return None
    if base == 0 and exponent <= 0:
        return None
    return Number(Fraction(base) ** exponent)

"""Units around a value: which words they are, and how they convert.

Only units that this table knows convert or conflict. Other words ("apples", "students")
say what is counted: they may be left out, and may be said in other words.
"""

from __future__ import annotations

import re
from fractions import Fraction

_LENGTH, _MASS, _TIME, _MONEY = "length", "mass", "time", "money"
_VOLUME = "volume"

_UNITS: dict[str, tuple[str, Fraction]] = {}


def _define(kind: str, size: Fraction | int, *names: str) -> None:
    for name in names:
        _UNITS[name] = (kind, Fraction(size))


_define(_LENGTH, Fraction(1, 1000), "mm", "millimeter", "millimeters", "millimetres")
_define(_LENGTH, Fraction(1, 100), "cm", "centimeter", "centimeters", "centimetres")
_define(_LENGTH, 1, "m", "meter", "meters", "metre", "metres")
_define(_LENGTH, 1000, "km", "kilometer", "kilometers", "kilometre", "kilometres")
_define(_LENGTH, Fraction(254, 10000), "inch", "inches", "in")
_define(_LENGTH, Fraction(3048, 10000), "ft", "foot", "feet")
_define(_LENGTH, Fraction(9144, 10000), "yd", "yard", "yards")
_define(_LENGTH, Fraction(1609344, 1000), "mi", "mile", "miles")
_define(_MASS, Fraction(1, 1000), "mg")
_define(_MASS, 1, "g", "gram", "grams")
_define(_MASS, 1000, "kg", "kilogram", "kilograms")
_define(_MASS, Fraction(45359237, 100000), "lb", "lbs")
_define(_TIME, 1, "s", "sec", "second", "seconds")
_define(_TIME, 60, "min", "minute", "minutes")
_define(_TIME, 3600, "h", "hr", "hour", "hours")
_define(_TIME, 86400, "day", "days")
_define(_TIME, 604800, "week", "weeks")
_define(_VOLUME, Fraction(1, 1000), "l", "L", "liter", "liters", "litre", "litres")
_define(_VOLUME, Fraction(1, 10**6), "ml", "mL", "milliliter", "milliliters")
_define("celsius", 1, "celsius")
_define("fahrenheit", 1, "fahrenheit")
_define(_MONEY, Fraction(1, 100), "cent", "cents")
_define(_MONEY, 1, "dollar", "dollars")

_PERCENT = frozenset({"percent", "percentage", "pct", "per cent"})
_DEGREES = frozenset({"degree", "degrees", "deg"})
_WORD = re.compile(r"([A-Za-z]+)\s*\^?\s*(-?\d+)?|(/|per\b)")
_SQUARE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


def is_percent(words: str) -> bool:
    return words.strip(" .").casefold() in _PERCENT


def is_degrees(words: str) -> bool:
    return words.strip(" .").casefold() in _DEGREES


def factors(gold: str, answer: str) -> tuple[Fraction, ...] | None:
    """By what an answer in its unit is multiplied to be in the reference's unit.

    (1,) where a unit is missing or unknown on either side; None where the two measure
    different things, so that no number in one equals any in the other.
    """
    one, other = _measure(gold), _measure(answer)
    if one is None or other is None:
        return (Fraction(1),)
    if one[0] != other[0]:
        return None
    return (other[1] / one[1],)


def _measure(words: str) -> tuple[tuple[tuple[str, int], ...], Fraction] | None:
    """The dimensions and the size of a unit, or None where a word is not known."""
    dimensions: dict[str, int] = {}
    size, sign, power = Fraction(1), 1, 1
    for match in _WORD.finditer(
        words.replace("per", "/") if " per " in words else words
    ):
        name, written, slash = match.groups()
        if slash:
            sign = -1
            continue
        if name in _SQUARE:
            power = _SQUARE[name]
            continue
        if name not in _UNITS:
            return None
        kind, one = _UNITS[name]
        exponent = sign * power * int(written or 1)
        kind, measured = (_LENGTH, 3) if kind == _VOLUME else (kind, 1)
        dimensions[kind] = dimensions.get(kind, 0) + measured * exponent
        size *= one**exponent
        power = 1
    kept = tuple(sorted((kind, n) for kind, n in dimensions.items() if n))
    return (kept, size) if kept else None

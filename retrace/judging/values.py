"""The value of an expression at a point: an exact fraction if possible, or 100 digits.

Two expressions are the same when they agree at several points whose coordinates have
nothing to do with one another. Everything is bounded: no number grows past `MAX_BITS`,
and no function is computed where it is slow.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from mpmath import MPContext  # type: ignore[import-untyped]

from retrace.judging.tokens import NotMine
from retrace.judging.tree import Node, is_derivative

MAX_BITS = 20_000
MAX_EXPONENT_BITS = 1_000_000
MAX_FACTORIAL = 3000
MAX_ANGLE = 10**30

Value = Any
"""Fraction, or mpf or mpc of the context below."""

context = MPContext()
context.dps = 100
NEAR = context.mpf(10) ** -60
LOST = NEAR
"""A term of a sum that is smaller than this beside the other would be lost in it."""

COMMON_LOGARITHM = "#log10"
"""In a point: a logarithm without a base is to base ten, not natural."""

CONSTANTS: dict[str, Callable[[], Value]] = {
    "pi": lambda: context.pi + 0,
    "e": lambda: context.e + 0,
    "i": lambda: context.mpc(0, 1),
}


class Undefined(ArithmeticError):  # noqa: N818  a finding, not a fault
    """There is no value here, such as one divided by zero."""


class TooLarge(ArithmeticError):  # noqa: N818  likewise
    """The value, or the way to it, is too large to compute."""


def symbols(node: Node) -> frozenset[str]:
    """The names a value depends on."""
    found: set[str] = set()
    stack: list[Any] = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, Node):
            if part.kind == "sym" and part.args[0] not in CONSTANTS:
                found.add(part.args[0])
            stack.extend(part.args)
        elif isinstance(part, tuple):
            stack.extend(part)
    return frozenset(found)


def point(names: frozenset[str], number: int, signed: bool = False) -> dict[str, Value]:
    """The coordinates of a test point: positive fractions, the same for one name."""
    found: dict[str, Value] = {}
    for name in names:
        digest = hashlib.sha256(f"{number}:{name}".encode()).digest()
        value = Fraction(400 + int.from_bytes(digest[:2], "big") % 2000, 1009)
        found[name] = -value if signed and digest[2] % 2 else value
    return found


def evaluate(node: Node, at: Mapping[str, Value]) -> Value:
    """The value of an expression; degrees count as radians, percent as hundredths.

    Raises:
        Undefined, TooLarge: there is no value, or none that can be computed.
        NotMine: the node is no expression.
    """
    kind, args = node.kind, node.args
    if kind == "num":
        return args[0]
    if kind == "sym":
        name = args[0]
        return CONSTANTS[name]() if name in CONSTANTS else at[name]
    handler = _HANDLERS.get(kind)
    if handler is None:
        raise NotMine(f"a {kind} inside an expression")
    return handler(args, at)


def equal(one: Value, other: Value) -> bool:
    """Exactly for fractions, else to 60 of 100 digits."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    left, right = number(one), number(other)
    size = max(abs(left), abs(right), context.mpf(1) / 10**6)
    return bool(abs(left - right) <= NEAR * size)


def number(value: Value) -> Value:
    """A value of the context."""
    if isinstance(value, Fraction):
        return context.mpf(value.numerator) / value.denominator
    return value


def real_fraction(value: Value) -> Fraction | None:
    """A real value as a fraction, or None for a complex one."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, context.mpc):
        if abs(value.imag) > NEAR * max(1, abs(value.real)):
            return None
        value = value.real
    if not context.isfinite(value):
        return None
    sign, mantissa, exponent, _bits = value._mpf_
    if abs(exponent) > MAX_BITS:
        return None
    signed = -int(mantissa) if sign else int(mantissa)
    power_of_two: Fraction = Fraction(2) ** int(exponent)
    return signed * power_of_two


# --- Arithmetic -----------------------------------------------------------------------


def _checked(value: Value) -> Value:
    if isinstance(value, Fraction):
        bits = value.numerator.bit_length() + value.denominator.bit_length()
        return number(value) if bits > MAX_BITS else value
    if not context.isfinite(value):
        raise Undefined("no finite value")
    return value


def _add(args: tuple[Any, ...], at: Mapping[str, Value]) -> Value:
    total: Value = Fraction(0)
    for part in args:
        total = _plus(total, evaluate(part, at))
    return total


def _plus(one: Value, other: Value) -> Value:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return _checked(one + other)
    left, right = number(one), number(other)
    small, large = sorted((abs(left), abs(right)))
    if 0 < small < large * LOST:
        raise TooLarge("a sum of terms that differ too much in size")
    return _checked(left + right)


def _times(one: Value, other: Value) -> Value:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return _checked(one * other)
    return _checked(number(one) * number(other))


def _multiply(args: tuple[Any, ...], at: Mapping[str, Value]) -> Value:
    product: Value = Fraction(1)
    for part in args:
        product = _times(product, evaluate(part, at))
    return product


def _divide(args: tuple[Any, ...], at: Mapping[str, Value]) -> Value:
    if len(args) != 2:
        raise NotMine("a ratio of more than two")
    if is_derivative(*args):
        return _opaque(str(args), [])
    above, below = evaluate(args[0], at), evaluate(args[1], at)
    if below == 0 or (not isinstance(below, Fraction) and abs(below) < NEAR * NEAR):
        raise Undefined("a division by zero")
    if isinstance(above, Fraction) and isinstance(below, Fraction):
        return _checked(above / below)
    return _checked(number(above) / number(below))


def _power(args: tuple[Any, ...], at: Mapping[str, Value]) -> Value:
    return power(evaluate(args[0], at), evaluate(args[1], at))


def power(base: Value, exponent: Value) -> Value:
    """A power; odd roots of negative numbers are real."""
    if base == 0:
        if isinstance(exponent, Fraction) and exponent > 0:
            return Fraction(0)
        raise Undefined("a power of zero")
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        if isinstance(base, Fraction):
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if bits * abs(exponent) <= MAX_BITS:
                return base ** int(exponent)
    elif _has_real_root(base, exponent):
        sign = -1 if exponent.numerator % 2 else 1
        return _times(Fraction(sign), power(-base, exponent))
    left, right = number(base), number(exponent)
    size = abs(context.log(abs(left), 2)) * abs(right)
    if size > MAX_EXPONENT_BITS:
        raise TooLarge("a power with more than a million bits")
    return _checked(context.power(left, right))


def _has_real_root(base: Value, exponent: Value) -> bool:
    if not isinstance(base, Fraction) or not isinstance(exponent, Fraction):
        return False
    return base < 0 and exponent.denominator % 2 == 1 and exponent.denominator < 100


def _negative(args: tuple[Any, ...], at: Mapping[str, Value]) -> Value:
    return -evaluate(args[0], at)


def _degrees(args: tuple[Any, ...], at: Mapping[str, Value]) -> Value:
    return _checked(number(evaluate(args[0], at)) * context.pi / 180)


def _percent(args: tuple[Any, ...], at: Mapping[str, Value]) -> Value:
    return _times(evaluate(args[0], at), Fraction(1, 100))


def _based(args: tuple[Any, ...], _at: Mapping[str, Value]) -> Value:
    digits, base = args
    if base.denominator != 1 or not 2 <= base <= 36:
        raise NotMine("a base that is none")
    if any(int(digit, 36) >= base for digit in digits):
        raise Undefined("a digit that its base has not")
    return Fraction(int(digits, int(base)))


def _unit(args: tuple[Any, ...], at: Mapping[str, Value]) -> Value:
    return evaluate(args[0], at)


# --- Functions ------------------------------------------------------------------------


def _function(args: tuple[Any, ...], at: Mapping[str, Value]) -> Value:
    name = args[0]
    if name == "det":
        return _determinant(args[1], at)
    values = [evaluate(part, at) for part in args[1:]]
    if name.startswith("call:"):
        return _opaque(name, values)
    if name == "log" and len(values) == 1 and COMMON_LOGARITHM in at:
        values.append(Fraction(10))
    handler = _FUNCTIONS.get((name, len(values)))
    if handler is not None:
        return _checked_or_none(handler(*values))
    if name in ("min", "max", "gcd", "lcm") and values:
        return _many(name, values)
    if len(values) != 1 or name not in _ANALYTIC:
        raise NotMine(f"{name} of {len(values)} arguments")
    argument = number(values[0])
    if abs(argument) > MAX_ANGLE:
        raise TooLarge(f"{name} of a huge number")
    try:
        return _checked(_ANALYTIC[name](argument))
    except (ValueError, ZeroDivisionError) as error:
        raise Undefined(f"{name} has a pole here") from error


def _checked_or_none(value: Value) -> Value:
    if value is None:
        raise Undefined("a function outside its domain")
    return _checked(value)


def _opaque(name: str, values: list[Value]) -> Value:
    """An unknown function: some number that only its name and arguments decide."""
    shown = [context.nstr(number(value), 20) for value in values]
    digest = hashlib.sha256(f"{name}:{shown}".encode()).digest()
    return Fraction(400 + int.from_bytes(digest[:2], "big") % 2000, 1009)


def _root(value: Value, index: Value = Fraction(2)) -> Value:
    if index == 0:
        raise Undefined("a zeroth root")
    inverse = 1 / index if isinstance(index, Fraction) else 1 / number(index)
    if isinstance(value, Fraction) and value >= 0 and index == 2:
        above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if above**2 == value.numerator and below**2 == value.denominator:
            return Fraction(above, below)
    return Fraction(0) if value == 0 else power(value, inverse)


def _log(value: Value, base: Value | None = None) -> Value:
    if value == 0 or base == 0 or base == 1:
        raise Undefined("a logarithm of zero")
    logarithm = context.log(number(value))
    return logarithm if base is None else logarithm / context.log(number(base))


def _factorial(value: Value) -> Value:
    whole = _whole(value)
    if whole is not None:
        if whole > MAX_FACTORIAL:
            raise TooLarge("a factorial")
        return Fraction(math.factorial(whole)) if whole >= 0 else None
    if abs(number(value)) > MAX_FACTORIAL:
        raise TooLarge("a factorial")
    return context.gamma(number(value) + 1)


def _binomial(above: Value, below: Value) -> Value:
    top, bottom = _whole(above), _whole(below)
    if top is not None and bottom is not None and 0 <= top <= 20 * MAX_FACTORIAL:
        if min(abs(bottom), abs(top - bottom)) > MAX_FACTORIAL:
            raise TooLarge("a binomial coefficient")
        return Fraction(math.comb(top, bottom)) if bottom >= 0 else Fraction(0)
    if max(abs(number(above)), abs(number(below))) > MAX_FACTORIAL:
        raise TooLarge("a binomial coefficient")
    return context.binomial(number(above), number(below))


def _whole(value: Value) -> int | None:
    exact = real_fraction(value) if not isinstance(value, Fraction) else value
    if exact is None or exact.denominator != 1:
        return None
    return int(exact)


def _floor(value: Value) -> Value:
    exact = real_fraction(value)
    if exact is None:
        return None
    nearest = round(exact)
    near = abs(exact - nearest) < Fraction(1, 10**25)
    return Fraction(nearest if near else math.floor(exact))


def _ceiling(value: Value) -> Value:
    down = _floor(-value)
    return None if down is None else -down


def _many(name: str, values: list[Value]) -> Value:
    exact = [real_fraction(value) for value in values]
    if any(value is None for value in exact):
        raise Undefined(f"{name} of a complex number")
    known = [value for value in exact if value is not None]
    if name in ("min", "max"):
        return min(known) if name == "min" else max(known)
    if any(value.denominator != 1 for value in known):
        raise Undefined(f"{name} of a number that is not whole")
    whole = [int(value) for value in known]
    return Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))


def _determinant(matrix: Node, at: Mapping[str, Value]) -> Value:
    if matrix.kind != "matrix":
        raise NotMine("the determinant of a name")
    rows = [[number(evaluate(cell, at)) for cell in row] for row in matrix.args]
    if len(rows) != len(rows[0]) or len(rows) > 6:
        raise NotMine("a determinant")
    return _checked(context.convert(context.det(context.matrix(rows))))


_FUNCTIONS: dict[tuple[str, int], Callable[..., Value]] = {
    ("sqrt", 1): _root,
    ("root", 2): _root,
    ("abs", 1): abs,
    ("ceil", 1): _ceiling,
    ("floor", 1): _floor,
    ("factorial", 1): _factorial,
    ("binomial", 2): _binomial,
    ("ln", 1): _log,
    ("log", 1): _log,
    ("log", 2): _log,
    ("lg", 1): lambda value: _log(value, Fraction(10)),
    ("cis", 1): lambda value: context.expj(number(value)),
    ("exp", 1): lambda value: power(context.e + 0, value),
}
_ANALYTIC: dict[str, Callable[[Value], Value]] = {
    "sin": context.sin,
    "cos": context.cos,
    "tan": context.tan,
    "cot": context.cot,
    "sec": context.sec,
    "csc": context.csc,
    "arcsin": context.asin,
    "arccos": context.acos,
    "arctan": context.atan,
    "arccot": context.acot,
    "arcsec": context.asec,
    "arccsc": context.acsc,
    "sinh": context.sinh,
    "cosh": context.cosh,
    "tanh": context.tanh,
    "coth": context.coth,
    "sech": context.sech,
    "csch": context.csch,
    "arcsinh": context.asinh,
    "arccosh": context.acosh,
    "arctanh": context.atanh,
}
_HANDLERS: dict[str, Callable[[tuple[Any, ...], Mapping[str, Value]], Value]] = {
    "add": _add,
    "mul": _multiply,
    "app": _multiply,
    "div": _divide,
    "ratio": _divide,
    "pow": _power,
    "neg": _negative,
    "deg": _degrees,
    "pct": _percent,
    "base": _based,
    "unit": _unit,
    "fn": _function,
}

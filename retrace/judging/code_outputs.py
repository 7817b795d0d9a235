"""Is this output, or this value, the expected one? One function for each policy.

`tokens` is for training filters: white space does not matter, numbers that are not
integers have a tolerance. `livecodebench` and `apps` follow the published protocols:
LiveCodeBench compares lines, then the decimal numbers on them, exactly; APPS and TACO
try ever looser comparisons, the last of which ignore order and repetition in a line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from itertools import zip_longest
from typing import Any, Literal

Comparison = Literal["tokens", "livecodebench", "apps"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d+")
_TOKEN = re.compile(r"\S+")
# numpy.allclose, which the APPS checker uses
_APPS_RELATIVE, _APPS_ABSOLUTE = 1e-5, 1e-8


@dataclass(frozen=True)
class Compare:
    """A policy of comparison; `tolerance` is absolute and relative, for `tokens`."""

    policy: Comparison
    tolerance: float = 1e-6

    def outputs(self, actual: str, expected: str) -> bool:
        """Whether a program's standard output is the expected text."""
        if actual == expected:
            return True
        if self.policy == "tokens":
            return _same_tokens(actual, expected, self.tolerance)
        if self.policy == "livecodebench":
            return _same_livecodebench(actual, expected)
        return _same_apps(actual, expected)

    def values(self, actual: Any, expected: Any) -> bool:
        """Whether two values, as `encoding.structure` gives them, are equal.

        As Python's `==` has it, but a tuple equals the list of its items, because JSON
        has no tuples; with a tolerance for floats but under `livecodebench`.
        """
        allowed = {"tokens": self.tolerance, "livecodebench": 0, "apps": _APPS_RELATIVE}
        return _same(actual, expected, allowed[self.policy])


def _same_tokens(actual: str, expected: str, tolerance: float) -> bool:
    # Iterators: the texts may be 100 MB long.
    pairs = zip_longest(_TOKEN.finditer(actual), _TOKEN.finditer(expected))
    return all(
        found is not None
        and wanted is not None
        and _same_token(found[0], wanted[0], tolerance)
        for found, wanted in pairs
    )


def _same_token(found: str, wanted: str, tolerance: float) -> bool:
    if found == wanted:
        return True
    if not (_NUMBER.fullmatch(found) and _NUMBER.fullmatch(wanted)):
        return False
    if not _INTEGER.fullmatch(wanted):
        return close(float(found), float(wanted), tolerance)
    if _INTEGER.fullmatch(found):
        return _strip_zeros(found) == _strip_zeros(wanted)
    return _is_near_integer(found, wanted, tolerance)


def _is_near_integer(found: str, integer: str, tolerance: float) -> bool:
    """Whether a float is an integer, by an absolute tolerance and without rounding.

    A relative one would take 12345678.5 for what a rounding division should have given.
    """
    exact = Context(prec=len(found) + len(integer) + 20)
    try:
        difference = exact.subtract(Decimal(found), Decimal(integer))
    except ArithmeticError:  # an absurd exponent
        return False
    return abs(difference) <= Decimal(tolerance)


def _strip_zeros(integer: str) -> str:
    """An integer's digits without what does not change its value."""
    digits = integer.lstrip("+-").lstrip("0")
    return f"-{digits}" if integer.startswith("-") and digits else digits


def close(actual: float, expected: float, tolerance: float) -> bool:
    """Within an absolute or a relative tolerance; NaN equals NaN."""
    if math.isnan(actual) or math.isnan(expected):
        return math.isnan(actual) and math.isnan(expected)
    return math.isclose(actual, expected, rel_tol=tolerance, abs_tol=tolerance)


def _same_livecodebench(actual: str, expected: str) -> bool:
    found, wanted = _stripped_lines(actual), _stripped_lines(expected)
    return len(found) == len(wanted) and all(
        a == b or _same_decimals(a, b) for a, b in zip(found, wanted, strict=True)
    )


def _stripped_lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _same_decimals(actual: str, expected: str) -> bool:
    try:
        found = [Decimal(word) for word in actual.split()]
        wanted = [Decimal(word) for word in expected.split()]
        return found == wanted
    except InvalidOperation:
        return False


def _same_apps(actual: str, expected: str) -> bool:
    found = [line for line in _stripped_lines(actual) if line]
    wanted = [line for line in _stripped_lines(expected) if line]
    if found == wanted:
        return True
    if len(found) != len(wanted):
        return _line_sets(found) == _line_sets(wanted)
    attempts: tuple[Callable[[list[str], list[str]], bool], ...] = (
        _all_close,
        lambda a, b: [set(line.split()) for line in a] == [set(x.split()) for x in b],
        lambda a, b: _line_sets(a) == _line_sets(b),
        _same_rounded,
    )
    return any(attempt(found, wanted) for attempt in attempts)


def _all_close(found: list[str], wanted: list[str]) -> bool:
    try:
        pairs = [
            (float(a), float(b))
            for x, y in zip(found, wanted, strict=True)
            for a, b in zip(x.split(), y.split(), strict=True)
        ]
    except ValueError:
        return False
    return all(abs(a - b) <= _APPS_ABSOLUTE + _APPS_RELATIVE * abs(b) for a, b in pairs)


def _line_sets(lines: list[str]) -> set[frozenset[str]]:
    return {frozenset(line.split()) for line in lines}


def _same_rounded(found: list[str], wanted: list[str]) -> bool:
    try:
        return _rounded_sets(found) == _rounded_sets(wanted)
    except ValueError:
        return False


def _rounded_sets(lines: list[str]) -> set[frozenset[float]]:
    return {frozenset(round(float(word), 3) for word in x.split()) for x in lines}


def _same(actual: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(actual, dict) or isinstance(expected, dict):
        return (
            isinstance(actual, dict)
            and isinstance(expected, dict)
            and _same_tagged(actual, expected, tolerance)
        )
    if isinstance(actual, list) or isinstance(expected, list):
        return (
            isinstance(actual, list)
            and isinstance(expected, list)
            and len(actual) == len(expected)
            and all(map(lambda a, b: _same(a, b, tolerance), actual, expected))
        )
    if isinstance(actual, float) or isinstance(expected, float):
        numbers = isinstance(actual, int | float) and isinstance(expected, int | float)
        if not numbers:
            return False
        try:
            return close(float(actual), float(expected), tolerance)
        except OverflowError:
            return bool(actual == expected)
    return bool(actual == expected)


def _same_tagged(
    actual: dict[str, Any], expected: dict[str, Any], tolerance: float
) -> bool:
    ((found, content),), ((wanted, right),) = actual.items(), expected.items()
    return bool(found == wanted) and _same(content, right, tolerance)

"""The tests of a problem as runs of a program and questions about their output."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from retrace.judging.code_outputs import Compare
from retrace.judging.code_reasons import shorten
from retrace.rows import TestCase, Tests
from retrace.sandbox import encoding
from retrace.sandbox.model import Execution

_PART = 1 << 20
_LARGEST, _GROWTH = 1 << 20, 64  # bytes, and encoded bytes for each of JSON
_LONG_NUMBER = 4000  # digits; Python refuses to convert 4,300 and more


_INTEGER = re.compile(r"-?[0-9]{1,18}")


class UnusableTestsError(ValueError):
    """The tests of a problem can't be read, or say nothing."""


@dataclass(frozen=True)
class Case:
    """One test: what to run, and what is wrong with what came out.

    Attributes:
        inputs: the same input in each form that a program may expect; right in one of
            them is right.
        difference: None if the output is right, else a line on what is not.
    """

    inputs: tuple[str, ...]
    shown: str
    expected_bytes: int
    difference: Callable[[Execution], str | None]


def cases(tests: Tests, compare: Compare) -> Iterator[Case]:
    """The cases of style stdin or call, one at a time: their inputs may be very large.

    Raises:
        UnusableTestsError: before the first case or at the case that can't be read.
    """
    if all(not test.output or test.output.isspace() for test in tests.tests):
        raise UnusableTestsError("no test expects any output")
    if tests.style == "stdin":
        for test in tests.tests:
            yield _stdin_case(test, compare)
        return
    if not tests.fn_name:
        raise UnusableTestsError("tests of style call need the name of a function")
    wrapped = _all_wrapped(tests)
    for test in tests.tests:
        yield _call_case(test, compare, wrapped)


def _stdin_case(test: TestCase, compare: Compare) -> Case:
    def difference(execution: Execution) -> str | None:
        if _same_bytes(execution.output, test.output):
            return None
        output = execution.output.decode("utf-8", "replace")
        if compare.outputs(output, test.output):
            return None
        return _first_difference(output, test.output)

    return Case(
        inputs=(test.input,),
        shown=test.input,
        expected_bytes=len(test.output),
        difference=difference,
    )


def _same_bytes(output: bytes, expected: str) -> bool:
    """Whether they are equal, without a copy of either: they may be 100 MB long."""
    place = 0
    for start in range(0, len(expected), _PART):
        part = expected[start : start + _PART].encode("utf-8", "surrogatepass")
        if not output.startswith(part, place):
            return False
        place += len(part)
    return place == len(output)


def _call_case(test: TestCase, compare: Compare, wrapped: bool) -> Case:
    arguments, expected = _read(test.input, "arguments"), _read(test.output, "value")
    if not isinstance(arguments, list):
        raise UnusableTestsError(
            f"the arguments of a call must be a JSON list: {shorten(test.input)}"
        )
    wanted = _structure(expected)

    def difference(execution: Execution) -> str | None:
        try:
            value = value_of(execution, len(test.output), as_json=True)
        except ValueError as error:
            return str(error)
        if compare.values(value, wanted):
            return None
        if wrapped and compare.values([value], wanted):
            return None
        return f"expected {shorten(test.output)}, got {shorten(_shown(value))}"

    return Case(
        inputs=tuple(map(encoding.encode, _forms(arguments))),
        shown=test.input,
        expected_bytes=len(test.output),
        difference=difference,
    )


def value_of(execution: Execution, expected_size: int, as_json: bool) -> Any:
    """The value that a call returned, for comparison with one of a known size.

    Raises:
        ValueError: it is far too large to be equal, or no encoded value at all; reading
            it would cost this process many times its size.
    """
    output = execution.output
    if len(output) > _LARGEST + _GROWTH * expected_size:
        raise ValueError(f"the value is far too large: {len(output)} bytes")
    try:
        return encoding.structure(output.decode(), as_json)
    except ValueError as error:
        shown = shorten(repr(output[:200]))
        raise ValueError(f"the value can't be read: {shown}") from error


def _shown(value: Any) -> str:
    try:
        return json.dumps(value)
    except ValueError:
        return "a value with a very long integer"


def _all_wrapped(tests: Tests) -> bool:
    """Whether every expected value stands in a list of one, as in part of APPS."""
    values = [_read(test.output, "value") for test in tests.tests]
    return all(isinstance(value, list) and len(value) == 1 for value in values)


def _forms(arguments: list[Any]) -> Iterator[list[Any]]:
    """The arguments, first with the integer keys that JSON turned into strings."""
    restored = [_integer_keys(argument) for argument in arguments]
    yield restored
    if restored != arguments:
        yield arguments


def _integer_keys(value: Any) -> Any:
    if isinstance(value, list):
        return [_integer_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    integers = all(_INTEGER.fullmatch(key) for key in value)
    return {
        int(key) if integers else key: _integer_keys(item)
        for key, item in value.items()
    }


def _read(text: str, what: str) -> Any:
    try:
        return json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise UnusableTestsError(
            f"the {what} of a test is not JSON ({error}): {shorten(text)}"
        ) from error


def _integer(digits: str) -> int:
    # The way around the limit on digits, which stays in force for everything else.
    return int(digits) if len(digits) < _LONG_NUMBER else int(Decimal(digits))


def _structure(value: Any) -> Any:
    return encoding.structure(encoding.encode(value), as_json=True)


def _first_difference(output: str, expected: str) -> str:
    """Where two texts first differ, by line."""
    lines = zip_longest(output.strip().split("\n"), expected.strip().split("\n"))
    for number, (found, wanted) in enumerate(lines, start=1):
        if found is None:
            return f"line {number}: expected {shorten(wanted)}, the output ended"
        if wanted is None:
            return f"line {number}: expected no more, got {shorten(found)}"
        if found.split() != wanted.split():
            return f"line {number}: expected {shorten(wanted)}, got {shorten(found)}"
    return f"expected {shorten(expected)}, got {shorten(output)}"

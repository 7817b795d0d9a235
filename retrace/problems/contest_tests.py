"""Tests of contest problems, as APPS, TACO and LiveCodeBench pack them.

Values of calls stay JSON text: keys, tuples and integers of any length are the judge's
business. Nothing packed is trusted: a pickle may hold one text and no code.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import re
import zlib
from collections.abc import Iterable
from typing import Any

from retrace.problems.base import writable
from retrace.rows import TestCase, Tests

# Python converts no text of 4,300 digits or more to an integer.
LONG = 4000
MARK = "\x00integer:"
WRITTEN_MARK = re.compile(r'"\\u0000integer:(-?\d+)"')
MAX_UNPACKED = 1 << 30


class UnusableRowError(ValueError):
    """A row that gives no problem; the message is the reason, in one word."""


def apps(text: Any, starter_code: str) -> Tests:
    """The tests of APPS and TACO: {"inputs", "outputs", "fn_name"?} as JSON text.

    Raises:
        UnusableRowError: no tests, or not in that form.
    """
    if not isinstance(text, str) or not text.strip():
        raise UnusableRowError("no_tests")
    packed = _loads(text)
    if not isinstance(packed, dict):
        raise UnusableRowError("tests_not_readable")
    inputs, outputs = packed.get("inputs"), packed.get("outputs")
    name = packed.get("fn_name") or None
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise UnusableRowError("tests_not_readable")
    if len(inputs) != len(outputs):
        raise UnusableRowError("inputs_and_outputs_differ_in_number")
    if not inputs:
        raise UnusableRowError("no_tests")
    turn = _dumps if name else _stdin
    return Tests(
        style="call" if name else "stdin",
        tests=[
            TestCase(input=writable(turn(given)), output=writable(turn(expected)))
            for given, expected in zip(inputs, outputs, strict=True)
        ],
        fn_name=str(name) if name else None,
        starter_code=starter_code,
    )


def livecodebench(texts: Iterable[Any], metadata: Any, starter_code: str) -> Tests:
    """The tests of LiveCodeBench: lists of {"input", "output", "testtype"}.

    Raises:
        UnusableRowError: no tests, not in that form, or a pickle of anything but text.
    """
    cases = [case for text in texts for case in _cases(text)]
    if not cases:
        raise UnusableRowError("no_tests")
    try:
        kinds = {case["testtype"] for case in cases}
        pairs = [
            (writable(str(case["input"])), writable(str(case["output"])))
            for case in cases
        ]
    except (KeyError, TypeError):
        raise UnusableRowError("tests_not_readable") from None
    if kinds == {"stdin"}:
        tests = [TestCase(input=given, output=expected) for given, expected in pairs]
        return Tests(style="stdin", tests=tests, starter_code=starter_code)
    if kinds != {"functional"}:
        raise UnusableRowError("mixed_test_styles")
    about = _loads(metadata) if isinstance(metadata, str) and metadata.strip() else {}
    name = about.get("func_name") if isinstance(about, dict) else None
    if not name:
        raise UnusableRowError("no_function_name")
    return Tests(
        style="call",
        tests=[
            TestCase(input=f"[{', '.join(_lines(given))}]", output=expected.strip())
            for given, expected in pairs
        ],
        fn_name=str(name),
        starter_code=starter_code,
    )


def _lines(text: str) -> list[str]:
    """The arguments of a call: one JSON value a line."""
    return [line for line in text.split("\n") if line.strip()]


def _cases(text: Any) -> list[Any]:
    if not isinstance(text, str) or not text.strip():
        return []
    if not text.lstrip().startswith("["):
        text = unpack(text)
    cases = _loads(text)
    if not isinstance(cases, list):
        raise UnusableRowError("tests_not_readable")
    return cases


def unpack(text: str) -> str:
    """The text inside base64 of zlib of a pickle; never runs what a pickle asks for.

    Raises:
        UnusableRowError: it is packed in another way, asks for code, or is too large.
    """
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(base64.b64decode(text, validate=True), MAX_UNPACKED)
        if stream.unconsumed_tail:
            raise UnusableRowError("tests_too_large")
        value = _TextOnly(io.BytesIO(data)).load()
    except UnusableRowError:
        raise
    except Exception as error:
        # A broken pickle raises whatever its broken part leads to.
        raise UnusableRowError("tests_not_readable") from error
    if not isinstance(value, str):
        raise UnusableRowError("pickle_of_more_than_text")
    return value


class _TextOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise UnusableRowError("pickle_of_more_than_text")

    def persistent_load(self, pid: Any) -> Any:
        raise UnusableRowError("pickle_of_more_than_text")


def _stdin(value: Any) -> str:
    """Standard input or output: a text, or a list of its lines."""
    if isinstance(value, list):
        return "\n".join(_stdin(item) for item in value)
    return value.removeprefix(MARK) if isinstance(value, str) else _dumps(value)


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        raise UnusableRowError("tests_not_readable") from None


def _integer(digits: str) -> Any:
    return int(digits) if len(digits) < LONG else MARK + digits


def _dumps(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(WRITTEN_MARK, r"\1", text) if '"\\u0000integer:' in text else text

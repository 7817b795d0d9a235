"""Tests that run beside a program, not within it.

The test script runs in a jail without the program. It finds stand-ins for the program's
functions; the first call that has no answer yet ends it, the call is made in a jail
with the program, and the script runs again with one answer more. The program sees
arguments and nothing else of the test; what it changes in them, the test finds changed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Literal

from retrace.judging.code_asserts import ExamQuestion
from retrace.judging.code_reasons import last_line, reason_of
from retrace.rows import Reason
from retrace.sandbox import encoding
from retrace.sandbox.model import Execution, Exit, Limits, Program, Stop
from retrace.sandbox.pool import Session

_MAX_CALLS = 500
_RAISED = re.compile(r"(?:\w+\.)*(\w+)(?::|$)")

# Runs first in the examiner's jail; its input is the list of answers so far.
_STAND_INS = """
import builtins, json, os, random, sys
from retrace.sandbox import encoding

answers = encoding.decode(sys.stdin.read())

def say(**message):
    sys.__stdout__.write(json.dumps(message))
    sys.__stdout__.flush()
    os._exit(0)

def keep(given, after):
    if isinstance(given, list):
        given[:] = after
    elif isinstance(given, (dict, set)):
        given.clear()
        given.update(after)

def stand_in(name):
    def call(*arguments, **named):
        if named:
            say(unclear="named arguments")
        try:
            asked = encoding.encode([name, arguments])
        except TypeError as error:
            say(unclear=str(error))
        if not answers:
            say(call=asked)
        question, raised, value = answers.pop(0)
        if question != asked:
            say(unclear="the test does not repeat its calls")
        if raised:
            kind = getattr(builtins, raised, None)
            known = isinstance(kind, type) and issubclass(kind, Exception)
            # It would end a loop of the test, and with it what the loop asserts.
            known = known and kind not in (StopIteration, StopAsyncIteration)
            raise (kind if known else RuntimeError)(value)
        value, after = encoding.decode(value)
        for pair in zip(arguments, after):
            keep(*pair)
        return value
    return call

script = {**globals(), "__name__": "test"}
for name in NAMES:
    script[name] = stand_in(name)
try:
    exec(compile(TEXT, "test.py", "exec"), script)
except AssertionError as error:
    say(failed=str(error)[:300] or "assertion failed")
except Exception as error:
    say(failed=f"{type(error).__name__}: {error}"[:300])
say(passed=True)
"""


@dataclass(frozen=True)
class Outcome:
    """What an examination found; `unclear` means that it can't be held this way."""

    kind: Literal["passed", "failed", "unclear"]
    detail: str = ""
    reason: Reason = Reason.WRONG_ANSWER


def examine(
    session: Session, question: ExamQuestion, program: Program, limits: Limits
) -> Outcome:
    """Run a test with the program's functions answered from another jail."""
    examiner = Program(
        f"NAMES = {question.names!r}\nTEXT = {question.text!r}\n{_STAND_INS}",
        prelude=True,
    )
    answers: list[tuple[str, str, str]] = []
    while len(answers) <= _MAX_CALLS:
        data = encoding.encode(answers)
        said = session.run(examiner, data, limits)
        try:
            message = json.loads(said.output)
        except ValueError:
            return Outcome("unclear", f"the test ended early ({said.stop})")
        if "passed" in message:
            return Outcome("passed")
        if "failed" in message:
            return Outcome("failed", message["failed"])
        if "call" not in message:
            return Outcome("unclear", message.get("unclear", ""))
        outcome = _answer(session, message["call"], program, limits)
        if isinstance(outcome, Outcome):
            return outcome
        answers.append(outcome)
    return Outcome("unclear", f"more than {_MAX_CALLS} calls")


def _answer(
    session: Session, asked: str, program: Program, limits: Limits
) -> tuple[str, str, str] | Outcome:
    """Make one call in a jail with the program: (question, exception, value)."""
    name, arguments = encoding.decode(asked)
    called = replace(program, kind="call", entry=name, observed=True)
    execution = session.run(called, encoding.encode(list(arguments)), limits)
    if execution.stop is Stop.EXITED and execution.code == 0:
        return asked, "", execution.output.decode("utf-8", "replace")
    if execution.code == Exit.NOT_ENCODABLE:
        return Outcome("unclear", last_line(execution.errors))
    reason = reason_of(execution, called, exit_matters=True)
    raised = _raised(execution)
    if reason is Reason.RUNTIME_ERROR and raised:
        return asked, raised, last_line(execution.errors)[:300]
    return Outcome("failed", last_line(execution.errors), reason or Reason.JUDGE_ERROR)


def _raised(execution: Execution) -> str:
    """The name of the exception that ended a call, or nothing."""
    if execution.stop is not Stop.EXITED or execution.code != 1:
        return ""
    match = _RAISED.match(last_line(execution.errors))
    return match[1] if match else ""

"""One program on all tests of its problem, up to the first failure."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from retrace.judging.code_asserts import (
    ExamQuestion,
    Question,
    ValueQuestion,
    defined_names,
    questions,
)
from retrace.judging.code_examiner import examine
from retrace.judging.code_outputs import Compare
from retrace.judging.code_reasons import explain, reason_of, shorten
from retrace.judging.code_tests import Case, UnusableTestsError, cases, value_of
from retrace.rows import Reason, Tests
from retrace.sandbox import encoding
from retrace.sandbox.model import Limits, Program
from retrace.sandbox.pool import Session


@dataclass(frozen=True)
class Rules:
    """How programs are run and their outputs judged; `code.Policy` explains each."""

    compare: Compare
    limits: Limits
    exit_matters: bool
    prelude_for_functions: bool
    prelude_for_scripts: bool
    detached: bool
    wrap: bool
    trust_weak: bool


@dataclass(frozen=True)
class Result:
    """`weak`: some tests ran in the program's own process, where it could cheat."""

    reason: Reason
    detail: str
    weak: bool = False


def run_tests(session: Session, tests: Tests, source: str, rules: Rules) -> Result:
    """Run a program's tests.

    Raises:
        UnusableTestsError: if the tests can't be read, or say nothing.
        SandboxError: if the sandbox fails.
    """
    if tests.style == "assert":
        return _run_asserts(session, tests, source, rules)
    script = tests.style == "stdin"
    program = Program(
        source,
        kind="script" if script else "call",
        entry=tests.fn_name or "",
        prelude=rules.prelude_for_scripts if script else rules.prelude_for_functions,
        detached=script and rules.detached,
        wrap=rules.wrap,
    )
    total = len(tests.tests)
    for number, case in enumerate(cases(tests, rules.compare), start=1):
        failure = _run_case(session, program, case, rules)
        if failure is None:
            continue
        reason = failure.reason
        if reason is Reason.WRONG_ANSWER and tests.many_outputs:
            reason = Reason.UNCHECKED
        where = f"test {number} of {total}, input {shorten(case.shown)}"
        return Result(reason, f"{where}: {failure.detail}")
    return Result(Reason.CORRECT, f"{total} tests")


def _run_case(
    session: Session, program: Program, case: Case, rules: Rules
) -> Result | None:
    """None if the program is right on the case, in one of its forms."""
    extra = case.expected_bytes * 2 >> 20
    limits = replace(rules.limits, output_mb=rules.limits.output_mb + extra)
    failure = None
    for data in case.inputs:
        execution = session.run(program, data, limits)
        reason = reason_of(execution, program, rules.exit_matters)
        if reason is not None:
            found = Result(reason, explain(execution, limits))
        else:
            difference = case.difference(execution)
            if difference is None:
                return None
            found = Result(Reason.WRONG_ANSWER, difference)
        failure = failure or found
    return failure


def _run_asserts(session: Session, tests: Tests, source: str, rules: Rules) -> Result:
    defined = defined_names(source)
    asked: list[Question] = []
    for test in tests.tests:
        try:
            asked += questions(test.input, defined)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise UnusableTestsError(
                f"an assert test is not Python ({error}): {shorten(test.input)}"
            ) from error
    if not asked:
        raise UnusableTestsError("the tests assert nothing")
    program = Program(
        source,
        kind="evaluate",
        prelude=rules.prelude_for_functions,
        wrap=rules.wrap,
    )
    weak = False
    for number, question in enumerate(asked, start=1):
        where = f"assert {number} of {len(asked)}, {shorten(question.shown)}"
        if isinstance(question, ValueQuestion):
            failure = _ask_value(session, program, question, rules)
        else:
            failure = _examine(session, program, question, rules)
        if failure is None:
            continue
        if failure.reason is not Reason.CORRECT:
            return Result(failure.reason, f"{where}: {failure.detail}", failure.weak)
        weak = True
    if weak and not rules.trust_weak:
        return Result(
            Reason.UNCHECKED, "passed asserts that a program can cheat on", weak
        )
    return Result(Reason.CORRECT, f"{len(asked)} asserts", weak)


def _ask_value(
    session: Session, program: Program, question: ValueQuestion, rules: Rules
) -> Result | None:
    execution = session.run(program, question.text, rules.limits)
    reason = reason_of(execution, program, exit_matters=True)
    if reason is not None:
        return Result(reason, explain(execution, rules.limits))
    try:
        size = len(repr(question.expected))
        value = value_of(execution, size, as_json=False)
    except ValueError as error:
        return Result(Reason.WRONG_ANSWER, str(error))
    if _holds(value, question):
        return None
    wanted = {"true": "something true", "false": "something false"}.get(
        question.relation, shorten(repr(question.expected))
    )
    return Result(
        Reason.WRONG_ANSWER,
        f"expected {'not ' * (question.relation == 'unequal')}{wanted},"
        f" got {shorten(execution.output.decode())}",
    )


def _holds(value: object, question: ValueQuestion) -> bool:
    if question.relation in ("true", "false"):
        return _truth(value) == (question.relation == "true")
    expected = encoding.structure(encoding.encode(question.expected), as_json=False)
    # An assert means what it says: no tolerance.
    equal = Compare("livecodebench").values(value, expected)
    if question.relation == "identical":
        return equal and type(value) is type(expected)
    return equal == (question.relation == "equal")


def _truth(value: object) -> bool:
    if isinstance(value, dict):
        (content,) = value.values()
        return bool(content)
    return bool(value)


def _examine(
    session: Session, program: Program, question: ExamQuestion, rules: Rules
) -> Result | None:
    """None for a pass; `correct` for a pass that is weak."""
    outcome = examine(session, question, program, rules.limits)
    if outcome.kind == "passed":
        return None
    if outcome.kind == "failed":
        return Result(outcome.reason, outcome.detail)
    # In the program's own process, but not passed by merely ending: the value that
    # says so comes last, and is not known before.
    nonce = secrets.token_hex(8)
    text = f"{question.text}\n{nonce!r}"
    execution = session.run(program, text, rules.limits)
    reason = reason_of(execution, program, exit_matters=True)
    if reason is not None:
        if "AssertionError" in execution.errors:
            reason = Reason.WRONG_ANSWER
        return Result(reason, explain(execution, rules.limits), weak=True)
    if execution.output.decode("utf-8", "replace") != encoding.encode(nonce):
        return Result(Reason.WRONG_ANSWER, "the test did not reach its end", weak=True)
    return Result(Reason.CORRECT, "", weak=True)

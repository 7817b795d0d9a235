"""Programs: run in the sandbox, judged by outputs that are compared outside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from retrace.judging import base
from retrace.judging.base import Judgement
from retrace.judging.code_extraction import extract_program
from retrace.judging.code_outputs import Compare, Comparison
from retrace.judging.code_reasons import explain, reason_of, shorten
from retrace.judging.code_tests import UnusableTestsError, cases
from retrace.rows import Problem, Reason, Tests
from retrace.sandbox.model import Limits, Mode, Program, SandboxError
from retrace.sandbox.pool import Pool, Settings

SandboxMode = Literal["auto", "ns+landlock", "ns", "landlock", "bwrap", "unsandboxed"]


class Policy(BaseModel):
    """How programs are run and judged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["code"] = Field("code", description="names this judge")
    comparison: Comparison = Field(
        "tokens",
        description="when an output is right: `tokens` ignores white space and gives"
        " floats a tolerance (for training data), `livecodebench` and `apps` follow"
        " the published protocols",
    )
    tolerance: float = Field(
        1e-6, ge=0, description="absolute and relative, for floats under `tokens`"
    )
    cpu_s: float = Field(6.0, gt=0, description="CPU seconds for each test")
    memory_mb: int = Field(1024, ge=16, description="memory for each test, in MiB")
    output_mb: int = Field(
        16, ge=1, description="output for each test, in MiB, beyond the expected size"
    )
    modules: tuple[str, ...] = Field(
        ("numpy",),
        description="modules that programs may import beside the standard library;"
        " each must be installed",
    )
    prelude: Literal["auto", "contest", "none"] = Field(
        "auto",
        description="whether names such as List, math and deque exist without an"
        " import, as on contest sites: `auto` gives them to functions, and to whole"
        " programs only under a published protocol",
    )
    wrapped: bool = Field(
        True,
        description="run source that is only valid as a function's body (a top-level"
        " return) as one, as APPS does",
    )
    sandbox: SandboxMode = Field(
        "auto",
        description="how programs are confined: `auto` takes the strongest mode that"
        " the node offers and refuses if there is none; `unsandboxed` also needs"
        " RETRACE_ALLOW_UNSANDBOXED=1 in the environment",
    )
    bwrap: str = Field("bwrap", description="the command of sandbox mode `bwrap`")

    def limits(self, expected_bytes: int = 0) -> Limits:
        """Limits of one test: CPU time decides, the others stand behind it."""
        return Limits(
            cpu_s=self.cpu_s,
            idle_s=max(5.0, self.cpu_s),
            wall_s=10 * self.cpu_s + 30,
            memory_mb=self.memory_mb,
            output_mb=self.output_mb + (2 * expected_bytes >> 20),
        )

    def compare(self) -> Compare:
        return Compare(self.comparison, self.tolerance)

    def exit_matters(self) -> bool:
        """LiveCodeBench and APPS take any call of `exit` for a normal end."""
        return self.comparison == "tokens"

    def settings(self) -> Settings:
        mode = None if self.sandbox == "auto" else Mode(self.sandbox)
        return Settings(mode=mode, modules=self.modules, bwrap=self.bwrap)


class Judge(base.Judge[Policy]):
    """Runs each response's program on its problem's tests, up to the first failure."""

    def __init__(self, policy: Policy, workers: int = 1) -> None:
        super().__init__(policy, workers)
        self._pool = Pool(policy.settings(), workers)

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.close()

    def contract(self) -> dict[str, Any]:
        return {**super().contract(), "sandbox": self._pool.report.record()}

    def judge(self, items: Iterable[tuple[Problem, str]]) -> Iterator[Judgement]:
        """One judgement for each item, in order; two items a worker are in flight."""
        waiting: deque[Future[Judgement]] = deque()
        with ThreadPoolExecutor(self.workers) as threads:
            for problem, response in items:
                waiting.append(threads.submit(self._judge_one, problem, response))
                if len(waiting) >= 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _judge_one(self, problem: Problem, response: str) -> Judgement:
        tests = problem.reference
        if not isinstance(tests, Tests):
            return Judgement(
                Reason.UNPARSABLE_REFERENCE,
                detail=f"the code judge needs tests, the reference is {tests.kind!r}",
            )
        source = extract_program(response, tests.fn_name)
        if source is None:
            return Judgement(Reason.NO_ANSWER, detail="no program in the response")
        try:
            reason, detail = self._run_tests(tests, source)
        except UnusableTestsError as error:
            reason, detail = Reason.UNPARSABLE_REFERENCE, str(error)
        except SandboxError as error:
            reason, detail = Reason.JUDGE_ERROR, f"the sandbox failed: {error}"
        by = f"{tests.style} tests"
        if self._pool.report.mode is Mode.UNSANDBOXED:
            by += ", unsandboxed"
        return Judgement(reason, answer=source, by=by, detail=detail)

    def _run_tests(self, tests: Tests, source: str) -> tuple[Reason, str]:
        """Run the tests up to the first failure; the reason and the detail."""
        policy = self.policy
        program = self._program(tests, source)
        total = len(tests.tests)
        with self._pool.open(program) as session:
            for number, case in enumerate(cases(tests, policy.compare()), start=1):
                for data in case.inputs:
                    execution = session.run(data, policy.limits(case.expected_bytes))
                    reason = reason_of(execution, program, policy.exit_matters())
                    problem = None if reason else case.difference(execution)
                    if reason is None and problem is None:
                        break
                else:
                    where = f"test {number} of {total}, input {shorten(case.shown)}"
                    if reason is None and tests.many_outputs:
                        return Reason.UNCHECKED, f"{where}: {problem}"
                    detail = problem or explain(execution, policy.limits())
                    return reason or Reason.WRONG_ANSWER, f"{where}: {detail}"
        return Reason.CORRECT, f"{total} tests"

    def _program(self, tests: Tests, source: str) -> Program:
        policy = self.policy
        published = policy.comparison != "tokens"
        prelude = policy.prelude == "contest" or (
            policy.prelude == "auto" and (tests.style != "stdin" or published)
        )
        kinds: dict[str, Literal["script", "call", "evaluate"]]
        kinds = {"stdin": "script", "call": "call", "assert": "evaluate"}
        return Program(
            source,
            kind=kinds[tests.style],
            entry=tests.fn_name or "",
            prelude=prelude,
            wrap=policy.wrapped,
        )

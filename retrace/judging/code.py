"""Programs: run in the sandbox, judged by outputs that are compared outside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from retrace.judging import base
from retrace.judging.base import Judgement
from retrace.judging.code_extraction import extract_program
from retrace.judging.code_outputs import Compare, Comparison
from retrace.judging.code_reasons import shorten
from retrace.judging.code_runs import Result, Rules, run_tests
from retrace.judging.code_tests import UnusableTestsError
from retrace.rows import Problem, Reason, Tests
from retrace.sandbox.model import Limits, Mode, SandboxError, Settings
from retrace.sandbox.pool import Pool

# Packages whose version can change what this module gives.
SOFTWARE = ("numpy",)

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
    detached: bool = Field(
        False,
        description="run whole programs as LiveCodeBench's own checker does, within a"
        " process that has its input on `sys.stdin` only and does not wait for threads:"
        " rejects right programs, as the published numbers do",
    )
    weak_tests: Literal["unchecked", "trust"] = Field(
        "unchecked",
        description="a pass of asserts that only make sense in the program's own"
        " process, where it could cheat: not counted as right, or trusted",
    )
    sandbox: SandboxMode = Field(
        "auto",
        description="how programs are confined: `auto` takes the strongest mode that"
        " the node offers and refuses if there is none; `unsandboxed` also needs"
        " RETRACE_ALLOW_UNSANDBOXED=1 in the environment",
    )
    bwrap: str = Field("bwrap", description="the command of sandbox mode `bwrap`")

    def rules(self) -> Rules:
        """The part of the policy that decides how a program is run and judged."""
        published = self.comparison != "tokens"
        return Rules(
            compare=Compare(self.comparison, self.tolerance),
            # CPU time decides; the others stand behind it.
            limits=Limits(
                cpu_s=self.cpu_s,
                idle_s=max(5.0, self.cpu_s),
                wall_s=10 * self.cpu_s + 30,
                memory_mb=self.memory_mb,
                output_mb=self.output_mb,
            ),
            # LiveCodeBench and APPS take any call of `exit` for a normal end.
            exit_matters=not published,
            prelude_for_functions=self.prelude != "none",
            prelude_for_scripts=self.prelude == "contest"
            or (self.prelude == "auto" and published),
            detached=self.detached,
            wrap=self.wrapped,
            trust_weak=self.weak_tests == "trust",
        )

    def settings(self) -> Settings:
        mode = None if self.sandbox == "auto" else Mode(self.sandbox)
        return Settings(mode=mode, modules=self.modules, bwrap=self.bwrap)


class Judge(base.Judge[Policy]):
    """Runs each response's program on its problem's tests, up to the first failure."""

    def __init__(self, policy: Policy, workers: int = 1) -> None:
        super().__init__(policy, workers)
        self._pool = Pool(policy.settings(), workers)
        # What the program judged last used; with one worker, that is the one just
        # yielded once nothing else waits.
        self.last_usage: dict[str, Any] = {}

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
            with self._pool.open() as session:
                result = run_tests(session, tests, source, self.policy.rules())
                self.last_usage = asdict(session.usage)
        except UnusableTestsError as error:
            result = Result(Reason.UNPARSABLE_REFERENCE, str(error))
        except SandboxError as error:
            result = Result(Reason.JUDGE_ERROR, f"the sandbox failed: {error}")
        except Exception as error:
            # Of one program: the other verdicts of its shard are not lost with it.
            detail = f"the judge failed: {type(error).__name__}: {error}"
            result = Result(Reason.JUDGE_ERROR, shorten(detail, 300))
        by = f"weak {tests.style} tests" if result.weak else f"{tests.style} tests"
        if self._pool.report.mode is Mode.UNSANDBOXED:
            by += ", unsandboxed"
        return Judgement(result.reason, answer=source, by=by, detail=result.detail)

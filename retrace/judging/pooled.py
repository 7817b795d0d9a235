"""A judge that decides what it can at once and leaves the rest to worker processes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any, ClassVar

from retrace.judging import base
from retrace.judging.base import Judgement, P
from retrace.judging.pool import Outcome, Pool
from retrace.rows import Problem, Reason

Asked = tuple[str, list[Any]]
"""An answer, and the arguments of the call that is to judge it in a worker."""


class PooledJudge(base.Judge[P]):
    """Prepares each item, runs the pool's target on what is left, and settles it."""

    software: ClassVar[tuple[str, ...]]
    """Packages whose version can change a verdict."""

    def __init__(self, policy: P, pool: Pool) -> None:
        super().__init__(policy)
        self._pool = pool

    def __exit__(self, *error: Any) -> None:
        self._pool.__exit__(*error)

    def judge(self, items: Iterable[tuple[Problem, str]]) -> Iterator[Judgement]:
        prepared = (self._guarded(problem, response) for problem, response in items)
        entries = ((p, None if isinstance(p, Judgement) else p[1]) for p in prepared)
        for found, outcome in self._pool.run(entries):
            if isinstance(found, Judgement):
                yield found
            else:
                yield self.settle(found[0], outcome)

    def _guarded(self, problem: Problem, response: str) -> Judgement | Asked:
        """What a response does to this process is no reason to lose the others."""
        try:
            return self.prepare(problem, response)
        except Exception as error:
            detail = f"the judge failed: {type(error).__name__}: {error}"
            return Judgement(Reason.JUDGE_ERROR, detail=detail[:300])

    def contract(self) -> dict[str, Any]:
        libraries = {name: version(name) for name in self.software}
        return {**super().contract(), "libraries": libraries}

    @abstractmethod
    def prepare(self, problem: Problem, response: str) -> Judgement | Asked:
        """A judgement, or what a worker has to be asked."""

    @abstractmethod
    def settle(self, answer: str, outcome: Outcome) -> Judgement:
        """The judgement of an answer from what became of it in a worker."""

"""What every judge looks like: a policy, a context manager, judgements in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel

from retrace.rows import Problem, Reason

P = TypeVar("P", bound=BaseModel)


@dataclass(frozen=True)
class Judgement:
    """A reason, the answer that was found, the layer that decided, and why."""

    reason: Reason
    answer: str = ""
    by: str = ""
    detail: str = ""


class Judge(ABC, Generic[P]):
    """Judges responses against references of one kind.

    Worker processes, where a judge has any, live from `__enter__` to `__exit__`.
    """

    def __init__(self, policy: P, workers: int = 1) -> None:
        self.policy = policy
        self.workers = workers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    @abstractmethod
    def judge(self, items: Iterable[tuple[Problem, str]]) -> Iterator[Judgement]:
        """One judgement for each (problem, response text), in the order given.

        Never raises because of a response, and looks only a bounded number of items
        ahead, so memory does not grow with the batch.
        """

    def connect(self, _reach: Mapping[str, Any], _terms: Mapping[str, Any]) -> None:
        """Give a judge that asks a model its engine; the others have no use for one."""
        raise ValueError(f"{type(self).__module__} asks no model: drop --judge-reach")

    def contract(self) -> dict[str, Any]:
        """What the verdicts depend on beside the rows, for the shard's side file."""
        return {"policy": self.policy.model_dump(mode="json")}

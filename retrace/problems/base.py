"""What every source of problems looks like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict, Field

from retrace.rows import Domain, Problem, content_id, shard_of


class Source(BaseModel, ABC):
    """Yields the problems of a set, the same ones in the same order every time.

    A source that can be made longer (a higher `count`, a line more in a file) keeps
    the problems it had: only then do new problems leave the old shards alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: Domain = Field(description="math, code, science or puzzle")

    @abstractmethod
    def problems(self, set_name: str) -> Iterator[Problem]: ...

    def files(self) -> list[str]:
        """Local files that the problems are read from."""
        return []

    def listed_while_planning(self) -> bool:
        """Whether the problems are so cheap that a plan may go through all of them."""
        return True


def shard(problems: Iterable[Problem], shards: int) -> list[list[Problem]]:
    """Distribute problems by their id; repeated problems are kept once."""
    rows: list[dict[str, Problem]] = [{} for _ in range(shards)]
    for problem in problems:
        rows[shard_of(problem.problem_id, shards)].setdefault(
            problem.problem_id, problem
        )
    return [list(shard.values()) for shard in rows]


def shard_digests(problems: Iterable[Problem], shards: int) -> list[str]:
    """A content hash for each shard: equal exactly where the shard's rows are."""
    ids: dict[int, list[str]] = defaultdict(list)
    for problem in problems:
        row = content_id(problem.model_dump(mode="json"))
        ids[shard_of(problem.problem_id, shards)].append(row)
    return [content_id(ids[number]) for number in range(shards)]

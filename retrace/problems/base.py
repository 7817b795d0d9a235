"""What every source of problems looks like."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict, Field

from retrace.rows import Domain, Problem, content_id, shard_of


class SourceError(ValueError):
    """A source that does not give what the recipe says: what was found and expected."""


class Source(BaseModel, ABC):
    """Yields the problems of a set, the same ones in the same order every time.

    A source that can be made longer (a higher `count`, a line more in a file) keeps
    the problems it had: only then do new problems leave the old shards alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: Domain = Field(description="math, code, science or puzzle")

    @abstractmethod
    def problems(self, set_name: str) -> Iterator[Problem]: ...

    @abstractmethod
    def reference_kind(self) -> str:
        """The kind of reference that its problems have."""

    def files(self) -> list[str]:
        """Local files that the problems are read from."""
        return []

    def listed_while_planning(self) -> bool:
        """Whether the problems are so cheap that a plan may go through all of them."""
        return True

    def identity(self) -> str:
        """What a plan knows of problems that it does not go through."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def shard(problems: Iterable[Problem], shards: int, number: int) -> Iterator[Problem]:
    """The problems of one shard, by their id; repeated problems are kept once.

    Every problem is drawn from the source, whichever shard it belongs to, so a source
    that checks itself at its end is checked; only the ids of the shard are held.
    """
    seen: set[bytes] = set()
    for problem in problems:
        if shard_of(problem.problem_id, shards) != number:
            continue
        key = bytes.fromhex(problem.problem_id)
        if key not in seen:
            seen.add(key)
            yield problem


def shard_digests(problems: Iterable[Problem], shards: int) -> list[str]:
    """A content hash for each shard: equal exactly where the shard's rows are."""
    ids: dict[int, list[str]] = defaultdict(list)
    for problem in problems:
        row = content_id(problem.model_dump(mode="json"))
        ids[shard_of(problem.problem_id, shards)].append(row)
    return [content_id(ids[number]) for number in range(shards)]


def writable(text: str) -> str:
    """The text without halves of surrogate pairs, which no UTF-8 file can hold."""
    if text.isascii() or re.search("[\ud800-\udfff]", text) is None:
        return text
    return text.encode("utf-8", "replace").decode("utf-8")

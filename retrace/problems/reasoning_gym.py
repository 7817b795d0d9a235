"""Generated puzzles and algebra from the `reasoning-gym` package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from retrace.problems import base
from retrace.rows import Answer, Problem, Puzzle

# Packages whose version can change what this module gives.
SOFTWARE = ("reasoning-gym",)


class Source(base.Source):
    """One family of reasoning-gym.

    Problem i is row i of a data set of the given seed, so a higher `count` only adds.
    """

    kind: Literal["reasoning_gym"]
    family: str = Field(description="name of the reasoning-gym data set")
    options: dict[str, Any] = Field(
        default_factory=dict, description="settings of the family's generator"
    )
    count: int = Field(ge=1, description="number of problems, repeats dropped")
    seed: int = Field(default=0)
    reference: Literal["answer", "puzzle"] = Field(
        default="puzzle",
        description="judge by the answer's text, or by the family's own scorer",
    )

    def reference_kind(self) -> str:
        return self.reference

    def problems(self, set_name: str) -> Iterator[Problem]:
        import reasoning_gym

        data = reasoning_gym.create_dataset(
            self.family, size=self.count, seed=self.seed, **self.options
        )
        for number, entry in enumerate(data):
            yield Problem.make(
                set_name,
                self.domain,
                entry["question"].strip(),
                self._reference(entry),
                {"source": self.kind, "family": self.family, "row": number},
            )

    def _reference(self, entry: dict[str, Any]) -> Answer | Puzzle:
        if self.reference == "answer":
            return Answer(answer=str(entry["answer"]))
        return Puzzle(family=self.family, entry=json.dumps(entry, sort_keys=True))

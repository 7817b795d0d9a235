"""Arithmetic word problems from templates: no two sets need share a pair of operands.

A problem is an operation, a template, a name, a thing and two operands (three for two
steps). `operands` divides the pairs of operands by their hash, `templates` divides the
templates, so that a benchmark can be disjoint from a training set in either way.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from functools import cache
from typing import Literal

from pydantic import Field

from retrace.problems import base
from retrace.rows import Answer, Problem

Operation = Literal["add", "subtract", "multiply"]

# Every fourth pair of operands is held out for benchmarks.
HELD_OUT_IN = 4
# So many repeats in a row mean that there is hardly a new problem left.
GIVE_UP = 1000

NAMES = (
    "Ada Ben Carla Dan Emma Farid Grace Hugo Ines Jonas Kira Leo Mona Nils Olga "
    "Pablo Rosa Sami Tara Umar Vera Wen Yusuf Zoe"
).split()
THINGS = (
    "apples books cards coins pencils marbles stamps shells stickers cookies balloons "
    "buttons flowers candles tickets"
).split()

# The last three templates of an operation are the unseen ones.
UNSEEN = 3
TEMPLATES: dict[Operation, tuple[str, ...]] = {
    "add": (
        "{name} has {a} {thing}. {name} gets {b} more. How many {thing} does {name} "
        "have now?",
        "{name} finds {a} {thing} in the morning and {b} {thing} in the evening. How "
        "many {thing} does {name} find in all?",
        "There are {a} {thing} in a box. {name} puts {b} more {thing} into the box. How "
        "many {thing} are in the box now?",
        "{name} has {a} {thing} and {other} has {b} {thing}. How many {thing} do they "
        "have together?",
        "A shop sold {a} {thing} on Monday and {b} {thing} on Tuesday. How many {thing} "
        "did the shop sell in total?",
        "{name} bought {a} {thing} last week and {b} {thing} this week. How many "
        "{thing} did {name} buy?",
        "{name} counts {a} red {thing} and {b} blue {thing}. How many {thing} does "
        "{name} count?",
        "On one table lie {a} {thing}. On another table lie {b} {thing}. How many "
        "{thing} lie on both tables?",
    ),
    "subtract": (
        "{name} has {a} {thing}. {name} gives {b} of them away. How many {thing} does "
        "{name} have left?",
        "There are {a} {thing} on a shelf. {name} takes {b} of them. How many {thing} "
        "are still on the shelf?",
        "{name} had {a} {thing} and lost {b} of them. How many {thing} are left?",
        "A box holds {a} {thing}. {b} of the {thing} are broken. How many {thing} are "
        "not broken?",
        "{name} needs {a} {thing} and already has {b}. How many more {thing} does "
        "{name} need?",
        "{name} has {a} {thing}. {other} has {b} fewer. How many {thing} does {other} "
        "have?",
        "A shop had {a} {thing} and sold {b} of them. How many {thing} does the shop "
        "have now?",
        "{name} started with {a} {thing} and used {b}. How many {thing} remain?",
    ),
    "multiply": (
        "{name} has {a} bags with {b} {thing} in each bag. How many {thing} does {name} "
        "have?",
        "There are {a} boxes. Each box holds {b} {thing}. How many {thing} are there in "
        "all?",
        "{name} buys {a} packs of {thing}. Every pack has {b} {thing}. How many {thing} "
        "does {name} buy?",
        "{a} children have {b} {thing} each. How many {thing} do they have together?",
        "{name} puts {b} {thing} on each of {a} plates. How many {thing} are on the "
        "plates?",
        "{name} collects {b} {thing} every day for {a} days. How many {thing} does "
        "{name} collect?",
        "A shelf has {a} rows with {b} {thing} in each row. How many {thing} are on the "
        "shelf?",
        "{name} gives {b} {thing} to each of {a} friends. How many {thing} does {name} "
        "give away?",
    ),
}
SECOND_STEP: dict[Operation, str] = {
    "add": "Then {other} brings {c} more {thing}.",
    "subtract": "Then {c} of the {thing} get lost.",
    "multiply": "Then the number of {thing} grows to {c} times as many.",
}


class Source(base.Source):
    kind: Literal["word_problems"]
    count: int = Field(ge=1, description="number of problems")
    seed: int = Field(default=0, description="another seed, another set of problems")
    steps: Literal[1, 2] = Field(default=1, description="operations in a problem")
    operations: list[Operation] = Field(
        default=["add", "subtract", "multiply"], min_length=1
    )
    smallest: int = Field(default=2, ge=1, description="smallest operand")
    largest: int = Field(default=20, ge=3, description="largest operand")
    operands: Literal["train", "held_out"] = Field(
        default="train", description="which pairs of operands are used"
    )
    templates: Literal["seen", "unseen"] = Field(
        default="seen", description="which templates are used"
    )

    def reference_kind(self) -> str:
        return "answer"

    def problems(self, set_name: str) -> Iterator[Problem]:
        """Problem i depends on the seed and on i alone; repeats are skipped.

        Raises:
            ValueError: the settings allow fewer different problems than `count`.
        """
        seen: set[str] = set()
        repeats = 0
        for attempt in itertools.count():
            problem = self._problem(set_name, random.Random(f"{self.seed}:{attempt}"))
            if problem.problem_id in seen:
                repeats += 1
                if repeats == GIVE_UP:
                    break
                continue
            repeats = 0
            seen.add(problem.problem_id)
            yield problem
            if len(seen) == self.count:
                return
        raise ValueError(
            f"set {set_name}: found {len(seen)} different word problems, wanted "
            f"{self.count}: raise `largest`, or ask for fewer"
        )

    def _problem(self, set_name: str, rng: random.Random) -> Problem:
        operation = rng.choice(self.operations)
        number, template = rng.choice(self._numbered_templates(operation))
        a, b = self._operands(operation, rng)
        name, other = rng.sample(NAMES, 2)
        words = {"name": name, "other": other, "thing": rng.choice(THINGS)}
        statement = template.format(a=a, b=b, **words)
        value = _apply(operation, a, b)
        if self.steps == 2:
            statement, value = self._extend(statement, value, words, rng)
        return Problem.make(
            set_name,
            self.domain,
            statement,
            Answer(answer=str(value)),
            {
                "source": self.kind,
                "operation": operation,
                "template": f"{operation}-{number}",
                "operands": [a, b],
            },
        )

    def _numbered_templates(self, operation: Operation) -> list[tuple[int, str]]:
        numbered = list(enumerate(TEMPLATES[operation]))
        return numbered[-UNSEEN:] if self.templates == "unseen" else numbered[:-UNSEEN]

    def _operands(self, operation: Operation, rng: random.Random) -> tuple[int, int]:
        pairs = operand_pairs(operation, self.smallest, self.largest, self.operands)
        if not pairs:
            raise ValueError(
                f"no {self.operands} operands to {operation} between {self.smallest} "
                f"and {self.largest}: raise `largest`"
            )
        return rng.choice(pairs)

    def _extend(
        self, statement: str, value: int, words: dict[str, str], rng: random.Random
    ) -> tuple[str, int]:
        """Put a second event between the first one and the question."""
        operation = rng.choice(self.operations)
        c = rng.randint(2, 5) if operation == "multiply" else rng.randint(2, 20)
        if operation == "subtract":
            c = rng.randint(1, max(value - 1, 1))
        story, _, _ = statement.rpartition(". ")
        event = SECOND_STEP[operation].format(c=c, **words)
        question = f"How many {words['thing']} are there in the end?"
        return f"{story}. {event} {question}", _apply(operation, value, c)


def held_out(operation: Operation, a: int, b: int) -> bool:
    """Whether a pair of operands belongs to the benchmarks, in either order."""
    low, high = sorted((a, b))
    digest = hashlib.sha256(f"{operation}:{low}:{high}".encode()).digest()
    return digest[0] % HELD_OUT_IN == 0


@cache
def operand_pairs(
    operation: Operation, smallest: int, largest: int, part: str
) -> list[tuple[int, int]]:
    """The pairs of a part; a difference is positive."""
    span = range(smallest, largest + 1)
    return [
        (a, b)
        for a in span
        for b in span
        if (operation != "subtract" or a > b)
        and held_out(operation, a, b) == (part == "held_out")
    ]


def _apply(operation: Operation, a: int, b: int) -> int:
    return {"add": a + b, "subtract": a - b, "multiply": a * b}[operation]

"""Faults that rewriting models make, and the liberties that a copy may take."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from retrace.rewriting import assistant_turn
from retrace.sections import END_THOUGHT

DOUBTS = (
    "But that need not be so.",
    "Let me look again.",
    "Is this right?",
    "I am not sure about this.",
)
"""Short sentences that the generated traces hold, each with a step before it."""

Change = Callable[[str, str, random.Random], str]


def dropped_step(thought: str, solution: str, draw: random.Random) -> str:
    """A paragraph is gone, be it long or short."""
    parts = thought.split("\n\n")
    del parts[draw.randrange(len(parts))]
    return assistant_turn("\n\n".join(parts), solution)


def dropped_doubt(thought: str, solution: str, draw: random.Random) -> str:
    """One short sentence without any number is gone."""
    short = draw.choice([doubt for doubt in DOUBTS if doubt in thought])
    return assistant_turn(thought.replace(f" {short}", "", 1), solution)


def repeated_step(thought: str, solution: str, draw: random.Random) -> str:
    parts = thought.split("\n\n")
    place = draw.randrange(1, len(parts))
    return assistant_turn("\n\n".join([*parts[:place], *parts[place - 1 :]]), solution)


def dropped_negation(thought: str, solution: str, draw: random.Random) -> str:
    del draw
    return assistant_turn(thought.replace(" not ", " ", 1), solution)


def changed_number(thought: str, solution: str, draw: random.Random) -> str:
    """One number is another one."""
    found = draw.choice(list(re.finditer(r"(?<![\d.,])\d+(?![\d.,])", thought)))
    other = str(int(found.group()) + draw.randint(1, 9))
    changed = thought[: found.start()] + other + thought[found.end() :]
    return assistant_turn(changed, solution)


def summary(thought: str, solution: str, draw: random.Random) -> str:
    """The first sentence of every paragraph, from half of the paragraphs."""
    parts = thought.split("\n\n")
    kept = sorted(draw.sample(range(len(parts)), max(1, len(parts) // 2)))
    short = [re.split(r"(?<=[.?!:])\s", parts[place])[0] for place in kept]
    return assistant_turn("\n\n".join(short), solution)


def missing_marker(thought: str, solution: str, draw: random.Random) -> str:
    del draw
    return assistant_turn(thought, solution).replace(END_THOUGHT, "")


def changed_answer(thought: str, solution: str, draw: random.Random) -> str:
    """The thought is a copy, the solution boxes something else."""
    other = draw.randint(100_000, 999_999)
    return assistant_turn(thought, f"Therefore the result is \\boxed{{{other}}}.")


def error_text(thought: str, solution: str, draw: random.Random) -> str:
    del thought, solution
    code = draw.choice([429, 500, 503])
    return f"Error processing content: server answered with status {code}"


def error_at_the_end(thought: str, solution: str, draw: random.Random) -> str:
    """The connection broke after a whole copy; either part may have the message."""
    message = draw.choice(
        ["Error: Rate limit reached.", "Error code: 502", "Request timed out."]
    )
    if draw.random() < 0.5:
        return assistant_turn(f"{thought}\n\n{message}", solution)
    return assistant_turn(thought, f"{solution}\n\n{message}")


def copy(thought: str, solution: str, draw: random.Random) -> str:
    """Nothing changes but white space and typesetting."""
    changed = thought
    if draw.random() < 0.5:
        changed = changed.replace("\\(", "$").replace("\\)", "$")
    if draw.random() < 0.5:
        changed = changed.replace("\n\n", "\n")
    if draw.random() < 0.5:
        changed = changed.replace("\\cdot", "\\times").replace("\\dfrac", "\\frac")
    if draw.random() < 0.5:
        changed = re.sub(r"(?m)^(\w+ \w+)", r"**\1**", changed, count=3)
    return assistant_turn(changed, solution)


def loose_copy(thought: str, solution: str, draw: random.Random) -> str:
    """A few little words are other ones, as a model that copies "almost" does."""
    pairs = (("Okay", "Alright"), (" so ", " thus "), (" let me ", " I will "))
    changed = thought
    for old, new in draw.sample(pairs, 2):
        changed = changed.replace(old, new, 3)
    return copy(changed, solution, draw)


FAULTS: tuple[Change, ...] = (
    dropped_step,
    dropped_doubt,
    dropped_negation,
    repeated_step,
    changed_number,
    summary,
    missing_marker,
    changed_answer,
    error_text,
    error_at_the_end,
)
CLEAN: tuple[Change, ...] = (copy, loose_copy)

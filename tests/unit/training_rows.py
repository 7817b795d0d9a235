"""Training rows for tests of the training: random text, thoughts of random length."""

from __future__ import annotations

import random

from retrace.rows import Domain, TrainingRow, Turn

ALPHABET = "abc XYZ 0123 \n\t.,;{}\\$^_é漢Ω🙂<|>"


def rows(count: int, seed: int = 0, longest: int = 8) -> list[TrainingRow]:
    chance = random.Random(seed)
    return [_row(chance, number, longest) for number in range(count)]


def row(user: str, assistant: str, system: str = "", name: str = "r") -> TrainingRow:
    turns = [
        Turn.model_validate({"from": "user", "value": user}),
        Turn.model_validate({"from": "assistant", "value": assistant}),
    ]
    return TrainingRow(
        id=name,
        system=system,
        conversations=turns,
        problem_id="p",
        trace_id="t",
        set="s",
        domain=Domain.MATH,
    )


def response(steps: list[str], solution: str) -> str:
    thought = "\n\n".join(steps)
    return (
        f"<|begin_of_thought|>\n\n{thought}\n\n<|end_of_thought|>\n\n"
        f"<|begin_of_solution|>\n\n{solution}\n\n<|end_of_solution|>"
    )


def _row(chance: random.Random, number: int, longest: int) -> TrainingRow:
    def text(most: int) -> str:
        return "".join(chance.choices(ALPHABET, k=chance.randint(1, most)))

    steps = [text(40) for _ in range(chance.randint(1, longest))]
    system = text(30) if chance.random() < 0.7 else ""
    return row(text(40), response(steps, text(30)), system, f"row-{number}")

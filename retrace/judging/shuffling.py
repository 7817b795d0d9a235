"""Shuffles the options of a multiple-choice problem, the same for ever for one id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def shuffled(
    options: Sequence[str], correct: int, record: str, seed: int = 0
) -> tuple[list[str], int]:
    """The options in a new order, and where the right one went.

    The order depends on the seed and the record's id alone: not on the other records,
    their order, or any generator's state.
    """
    keys = [
        hashlib.sha256(f"{seed}:{record}:{index}".encode()).digest()
        for index in range(len(options))
    ]
    order = sorted(range(len(options)), key=keys.__getitem__)
    return [options[index] for index in order], order.index(correct)

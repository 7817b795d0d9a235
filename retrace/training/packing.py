"""Which rows make which step, when rows are packed.

An optimizer step trains the same number of rows whether they are packed or not, so
packing changes no hyperparameter and, but for rounding, no gradient. The rows of a step
are dealt to sequences of about equal length, so that no rank waits for another.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from retrace.training.settings import Settings

Sequences = list[list[int]]


@dataclass(frozen=True)
class Plan:
    """Sequences of row numbers in the order they are trained.

    `per_rank` of them on each rank make a step. An empty sequence stands where the last
    step of an epoch has fewer rows than sequences.
    """

    sequences: Sequences
    per_rank: int
    steps: int
    steps_per_epoch: int


def plan(lengths: Sequence[int], settings: Settings, ranks: int) -> Plan:
    """Shuffle rows anew for each epoch and deal each step's rows to sequences.

    Args:
        lengths: tokens of every row, none over `max_length`.
    """
    steps = list(_steps(len(lengths), settings))
    limit = settings.max_length
    tokens = max(sum(lengths[row] for row in step) for step in steps)
    per_rank = max(1, math.ceil(tokens / (ranks * limit)))
    while True:
        dealt = [_deal(step, lengths, ranks * per_rank, limit) for step in steps]
        if all(one is not None for one in dealt):
            break
        per_rank += 1
    sequences = [sequence for one in dealt if one for sequence in one]
    return Plan(
        sequences,
        per_rank,
        len(steps),
        math.ceil(len(lengths) / settings.batch_size),
    )


def _steps(rows: int, settings: Settings) -> Iterator[list[int]]:
    """The rows of every step; the last step of an epoch has what is left of it."""
    per_epoch = math.ceil(rows / settings.batch_size)
    wanted = math.ceil(settings.epochs * per_epoch)
    for epoch in range(math.ceil(wanted / per_epoch)):
        random = np.random.default_rng([settings.seed, epoch])
        order = random.permutation(rows).tolist()
        for step in range(min(per_epoch, wanted - epoch * per_epoch)):
            yield order[step * settings.batch_size :][: settings.batch_size]


def _deal(
    rows: Sequence[int], lengths: Sequence[int], count: int, limit: int
) -> Sequences | None:
    """Deal rows to `count` sequences, each longest row to the shortest sequence.

    None if a sequence gets over the limit. Longest sequences come first, so that those
    which are trained at the same time on several ranks are about equally long.
    """
    heap: list[tuple[int, int]] = [(0, number) for number in range(count)]
    dealt: Sequences = [[] for _ in range(count)]
    for row in sorted(rows, key=lambda row: (-lengths[row], row)):
        tokens, number = heap[0]
        if tokens + lengths[row] > limit:
            return None
        heapq.heapreplace(heap, (tokens + lengths[row], number))
        dealt[number].append(row)
    return sorted(dealt, key=lambda one: -sum(lengths[row] for row in one))

"""The mixture: how many rows of each set, chosen by hash, with every shortfall told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from retrace.curation.candidates import Candidate, Fault
from retrace.curation.settings import Settings
from retrace.rows import content_id


class ShortfallError(ValueError):
    """The mixture wants more rows than there are, and the recipe says not to go on."""


@dataclass(frozen=True)
class Mixed:
    """copies: how often each trace stands in the training set, none left out.
    surplus: the traces that the mixture has no room for.
    wanted: rows by set that the mixture asks for; shortfalls: one line for each set.
    """

    copies: dict[str, int]
    surplus: list[tuple[str, Fault]]
    wanted: dict[str, int]
    shortfalls: list[str]


def mix(
    candidates: list[Candidate], mixture: Mapping[str, int], settings: Settings
) -> Mixed:
    """Choose rows of each set.

    Which rows is a matter of the hash of seed and trace id, so the choice depends on no
    order, and a few new problems change few rows.

    Raises:
        ShortfallError: a set has too few rows and the settings make that an error.
    """
    wanted = amounts(mixture, settings.total)
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for one in sorted(candidates, key=lambda one: _draw(one, settings.seed)):
        groups[one.set].append(one)
    room: Counter[str] = Counter(settings.domains)
    copies: dict[str, int] = {}
    shortfalls = []
    for name in sorted(wanted):
        taken = _take(groups[name], wanted[name], settings, room)
        copies |= taken
        if sum(taken.values()) < wanted[name]:
            shortfalls.append(
                f"wanted {wanted[name]:,} rows of {name}, have {sum(taken.values()):,}"
            )
    if shortfalls and settings.shortfall == "error":
        raise ShortfallError(
            "; ".join(shortfalls) + ": sample more problems, lower the mixture, or set"
            " curation.shortfall to report (or curation.upsample to true)"
        )
    surplus = [
        (one.trace_id, Fault("mixture", f"{one.set} is full"))
        for one in candidates
        if one.trace_id not in copies
    ]
    return Mixed(copies, surplus, wanted, shortfalls)


def amounts(mixture: Mapping[str, int], total: int | None) -> dict[str, int]:
    """Rows wanted of each set; with a total, by largest remainder of the weights."""
    if total is None:
        return dict(mixture)
    weight = sum(mixture.values())
    exact = {name: total * part / weight for name, part in mixture.items()}
    found = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (found[name] - exact[name], name))
    for name in by_remainder[: total - sum(found.values())]:
        found[name] += 1
    return found


def _take(
    group: list[Candidate], wanted: int, settings: Settings, room: Counter[str]
) -> dict[str, int]:
    """Traces and how often each is taken; uses up the room of their domains."""
    taken: dict[str, int] = {}
    count = 0
    while group and count < wanted:
        before = count
        for one in group:
            domain = one.problem.domain.value
            if count == wanted:
                break
            if domain in settings.domains and room[domain] <= 0:
                continue
            taken[one.trace_id] = taken.get(one.trace_id, 0) + 1
            room[domain] -= 1
            count += 1
        if not settings.upsample or count == before:
            break
    return taken


def _draw(one: Candidate, seed: int) -> tuple[str, int]:
    return content_id([seed, one.problem.problem_id, one.sample]), one.sample

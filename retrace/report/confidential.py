"""What a page never shows: problems of confidential sets, and texts that quote them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from retrace.curation.pieces import PLAIN, counts, encode, pieces
from retrace.curation.search import is_closed
from retrace.report.inputs import Inputs
from retrace.report.summary import Summary, rows
from retrace.rows import Problem

# Stages of curation that compare with benchmarks have this in their name.
OVERLAP = "contamin"
QUOTED = 10
"""A quotation is a run of this many words, without typesetting, of a closed problem."""
MIN_PLAIN = 5
"""Words of a run that are no numbers, variables or signs: formulas resemble another."""


def closed_problems(inputs: Inputs) -> list[Problem]:
    """Problems of confidential sets, and those that say themselves that they are."""
    return [
        problem
        for problem in rows(inputs.problems, Problem)
        if problem.set in inputs.confidential or is_closed(problem)
    ]


def hidden_problems(
    closed: Iterable[Problem], inputs: Inputs, summary: Summary
) -> set[str]:
    """Ids of the closed problems and, where any may exist, of those that may be one:
    what decontamination threw out, and what no problem file tells the set of.
    """
    hidden = {problem.problem_id for problem in closed}
    if not hidden and not inputs.confidential:
        return hidden
    for key, trace in summary.traces.items():
        fates = summary.fates.get(key, ())
        if trace.problem_id not in summary.sets or any(
            OVERLAP in fate.stage for fate in fates
        ):
            hidden.add(trace.problem_id)
    return hidden


class Quotations:
    """Finds where a text quotes one of some problems, whatever its typesetting."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self._pieces = {
            piece
            for problem in problems
            for text in _texts(problem)
            for piece in _pieces(text)
        }

    def stand_in(self, text: str) -> bool:
        return not self._pieces.isdisjoint(_pieces(text))


def _pieces(text: str) -> list[int]:
    hashes = encode(text)
    telling = counts(hashes, QUOTED, PLAIN) >= MIN_PLAIN
    found: list[int] = pieces(hashes, QUOTED)[telling].tolist()
    return found


def _texts(problem: Problem) -> Iterator[str]:
    yield problem.statement
    if problem.reference.kind == "options":
        yield from problem.reference.options

"""What a page never shows: problems of confidential sets, and texts that quote them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from retrace.curation.pieces import PLAIN, Hashes, counts, encode, pieces
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
        found = [_pieces(text) for one in problems for text in _texts(one)]
        self._pieces = np.unique(np.concatenate(found or [np.zeros(0, np.uint64)]))

    def stand_in(self, text: str) -> bool:
        return len(self._pieces) > 0 and bool(
            np.isin(_pieces(text), self._pieces, assume_unique=False).any()
        )


def _pieces(text: str) -> Hashes:
    hashes = encode(text)
    telling = counts(hashes, QUOTED, PLAIN) >= MIN_PLAIN
    found: Hashes = pieces(hashes, QUOTED)[telling]
    return found


def _texts(problem: Problem) -> Iterator[str]:
    yield problem.statement
    if problem.reference.kind == "options":
        yield from problem.reference.options

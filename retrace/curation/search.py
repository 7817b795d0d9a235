"""The search for benchmark problems through all candidates, and what it found."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from retrace.curation import plants
from retrace.curation.candidates import Candidate, Fault
from retrace.curation.decontaminate import Encoder, Hit, Index
from retrace.curation.settings import Decontamination
from retrace.rows import Problem


@dataclass(frozen=True)
class Found:
    """faults: the contaminated traces, none where the settings do not drop them.
    report: sizes, every hit, and the measurement on planted leaks.
    """

    faults: list[tuple[str, Fault]]
    report: dict[str, Any]


def search(
    candidates: Sequence[Candidate],
    benchmarks: Sequence[Problem],
    training: Sequence[str],
    settings: Decontamination,
    processes: int = 1,
    confidential: frozenset[str] = frozenset(),
    encoder: Encoder | None = None,
) -> Found:
    """Look for every benchmark problem in every statement and every training text.

    `training`: statements, one of each cluster of duplicates (see `Index`). Of the sets
    in `confidential`, hits say which problem and where, and no word of it.
    """
    index = Index(benchmarks, training, settings, encoder)
    closed = {
        one.problem_id
        for one in benchmarks
        if one.set in confidential or is_closed(one)
    }
    statements = {one.problem.problem_id: one.problem.statement for one in candidates}
    index.read(statements.values())
    in_statement = {
        key: _without_text(index.in_statement(text), closed)
        for key, text in sorted(statements.items())
    }
    texts = (f"{one.thought}\n\n{one.solution}" for one in candidates)
    faults, hits = [], []
    with _search_texts(index, texts, processes) as in_texts:
        for one, found in zip(candidates, in_texts, strict=True):
            stated = in_statement[one.problem.problem_id]
            inside = _without_text(found, closed)
            hits += [_row(one, hit) for hit in inside]
            if stated or inside:
                faults.append((one.trace_id, _fault([*stated, *inside])))
    by_problem = {one.problem.problem_id: one for one in candidates}
    hits += [
        _row(by_problem[key], hit)
        for key, found in in_statement.items()
        for hit in found
    ]
    report = {
        "benchmarks": dict(sorted(Counter(one.set for one in benchmarks).items())),
        "distinct": len(index),
        "dropped": settings.drop,
        "traces": len(faults),
        "hits": sorted(hits, key=lambda hit: [str(value) for value in hit.values()]),
        "planted": _planted(index, benchmarks, candidates, settings),
    }
    return Found(faults if settings.drop else [], report)


def is_closed(problem: Problem) -> bool:
    """Whether a problem itself says that it must not be shown."""
    return bool(problem.meta.get("gated") or problem.meta.get("canary"))


_INDEX: Index | None = None
_CHUNK = 32


@contextmanager
def _search_texts(
    index: Index, texts: Iterable[str], processes: int
) -> Iterator[Iterator[list[Hit]]]:
    """Hits of every text, in order; child processes share the index by forking."""
    global _INDEX
    if processes <= 1 or not len(index):
        yield map(index.in_text, texts)
        return
    _INDEX = index
    try:
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            yield pool.imap(_in_text, texts, _CHUNK)
    finally:
        _INDEX = None


def _in_text(text: str) -> list[Hit]:
    assert _INDEX is not None
    return _INDEX.in_text(text)


def _planted(
    index: Index,
    benchmarks: Sequence[Problem],
    candidates: Sequence[Candidate],
    settings: Decontamination,
) -> dict[str, Any] | None:
    if not benchmarks or not settings.planted:
        return None
    by_name = sorted(candidates, key=lambda one: one.trace_id)
    hosts = [one.thought for one in by_name[: settings.planted]]
    return plants.measure(index, benchmarks, hosts, settings.planted)


def _without_text(hits: list[Hit], closed: set[str]) -> list[Hit]:
    return [
        replace(hit, matched="") if hit.problem_id in closed else hit for hit in hits
    ]


def _fault(hits: list[Hit]) -> Fault:
    best = min(hits, key=lambda hit: (hit.where, -hit.share, hit.set, hit.problem_id))
    more = f" and {len(hits) - 1} more" if len(hits) > 1 else ""
    detail = f"{best.method} {best.share:.2f} of {best.set}/{best.problem_id}{more}"
    return Fault(f"benchmark_in_{best.where}", f"{detail}: {best.matched}".strip(": "))


def _row(one: Candidate, hit: Hit) -> dict[str, Any]:
    row = {"set": one.set, "problem_id": one.problem.problem_id}
    if hit.where == "trace":
        row["trace_id"] = one.trace_id
    return row | {
        "where": hit.where,
        "method": hit.method,
        "benchmark": hit.set,
        "benchmark_id": hit.problem_id,
        "share": hit.share,
        "matched": hit.matched,
    }

"""The funnel: how many rows went into each stage, how many came out, and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from retrace.curation.candidates import Candidate, Fault
from retrace.rows import RejectedRow


class Funnel:
    """Drops candidates stage by stage and remembers each with its reason."""

    def __init__(self) -> None:
        self.rejected: list[RejectedRow] = []
        self._stages: list[dict[str, Any]] = []

    def drop(
        self,
        stage: str,
        candidates: list[Candidate],
        faults: Iterable[tuple[str, Fault]],
    ) -> list[Candidate]:
        """The candidates without a fault; the first fault of a trace counts."""
        found: dict[str, Fault] = {}
        for trace_id, fault in faults:
            found.setdefault(trace_id, fault)
        kept = [one for one in candidates if one.trace_id not in found]
        reasons: Counter[str] = Counter()
        for one in candidates:
            fault_ = found.get(one.trace_id)
            if fault_ is not None:
                reasons[fault_.reason] += 1
                self.rejected.append(_rejected(one, stage, fault_))
        self._stages.append(
            {
                "stage": stage,
                "in": _by_set(candidates),
                "out": _by_set(kept),
                "reasons": dict(sorted(reasons.items())),
            }
        )
        return kept

    def report(self) -> list[dict[str, Any]]:
        """A stage a row: rows in and out by set, and the reasons of those dropped."""
        return self._stages


def _by_set(candidates: Iterable[Candidate]) -> dict[str, int]:
    return dict(sorted(Counter(one.set for one in candidates).items()))


def _rejected(one: Candidate, stage: str, fault: Fault) -> RejectedRow:
    return RejectedRow(
        trace_id=one.trace_id,
        problem_id=one.problem.problem_id,
        set=one.set,
        stage=stage,
        reason=fault.reason,
        detail=fault.detail,
    )

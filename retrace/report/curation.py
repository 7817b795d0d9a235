"""What the curation stage reports of itself, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retrace.report.inputs import Inputs
from retrace.report.summary import flatten

OVERLAP = "contamination"


@dataclass(frozen=True)
class Curation:
    """stages: name, rows in, rows out, reasons. facts: all else, as dotted keys."""

    name: str
    stages: list[tuple[str, int, int, dict[str, int]]]
    overlap: dict[str, Any]
    facts: dict[str, Any]


def tables(inputs: Inputs) -> list[Curation]:
    """One for each dataset that has a report."""
    return [
        Curation(
            name=name,
            stages=[_stage(stage) for stage in report.get("funnel") or []],
            overlap=_numbers(report.get(OVERLAP)),
            facts=_facts(report),
        )
        for name, report in inputs.dataset_reports.items()
    ]


def _stage(stage: Mapping[str, Any]) -> tuple[str, int, int, dict[str, int]]:
    return (
        stage["stage"],
        sum(stage["in"].values()),
        sum(stage["out"].values()),
        dict(stage.get("reasons") or {}),
    )


def _facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Single values only: lists are in the report's own file."""
    known = ("funnel", OVERLAP)
    rest = {key: value for key, value in report.items() if key not in known}
    return {
        key: value
        for key, value in flatten(rest).items()
        if not isinstance(value, list | dict)
    }


def _numbers(overlap: Any) -> dict[str, Any]:
    """Counts alone: a text that overlaps may be that of a confidential benchmark."""
    flat = flatten(overlap) if isinstance(overlap, dict) else {}
    return {key: value for key, value in flat.items() if isinstance(value, int | float)}

"""What the curation stage reports of itself, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retrace.report.inputs import Inputs

OVERLAP = "contamination"


@dataclass(frozen=True)
class Grid:
    """Mappings with the same keys, a row each: title, column names, rows."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Any]]]


@dataclass(frozen=True)
class Curation:
    """stages: name, rows in, rows out, reasons. facts: all else, as dotted keys."""

    name: str
    stages: list[tuple[str, int, int, dict[str, int]]]
    overlap: dict[str, Any]
    overlap_grids: list[Grid]
    facts: dict[str, Any]
    grids: list[Grid]


def tables(inputs: Inputs) -> list[Curation]:
    """One for each dataset that has a report."""
    return [_curation(name, report) for name, report in inputs.dataset_reports.items()]


def _curation(name: str, report: Mapping[str, Any]) -> Curation:
    rest = {k: v for k, v in report.items() if k not in ("funnel", OVERLAP)}
    facts, grids = arrange(rest)
    # Counts alone: a text that overlaps may be that of a confidential benchmark.
    overlap, overlap_grids = arrange(_numbers(report.get(OVERLAP) or {}))
    return Curation(
        name=name,
        stages=[_stage(stage) for stage in report.get("funnel") or []],
        overlap=overlap,
        overlap_grids=overlap_grids,
        facts=facts,
        grids=grids,
    )


def arrange(
    value: Mapping[str, Any], path: str = ""
) -> tuple[dict[str, Any], list[Grid]]:
    """Divide nested mappings into single values and grids of mappings alike.

    Lists are left out: they are in the report's own file.
    """
    facts: dict[str, Any] = {}
    grids: list[Grid] = []
    for key, entry in value.items():
        name = f"{path} {key}".strip().replace("_", " ")
        if isinstance(entry, Mapping):
            if _alike(entry):
                grids.append(_grid(name, entry))
            else:
                inner, more = arrange(entry, name)
                facts |= inner
                grids += more
        elif not isinstance(entry, list):
            facts[name] = entry
    return facts, grids


def _alike(value: Mapping[str, Any]) -> bool:
    """At least two mappings of single values, with a key in common."""
    if len(value) < 2 or not all(isinstance(e, Mapping) and e for e in value.values()):
        return False
    shared = set.intersection(*(set(entry) for entry in value.values()))
    leaves = [leaf for entry in value.values() for leaf in entry.values()]
    return bool(shared) and not any(isinstance(leaf, Mapping | list) for leaf in leaves)


def _grid(title: str, value: Mapping[str, Any]) -> Grid:
    columns = list(dict.fromkeys(key for entry in value.values() for key in entry))
    rows = [(name, [e.get(key) for key in columns]) for name, e in value.items()]
    return Grid(title, columns, rows)


def _stage(stage: Mapping[str, Any]) -> tuple[str, int, int, dict[str, int]]:
    return (
        stage["stage"],
        sum(stage["in"].values()),
        sum(stage["out"].values()),
        dict(stage.get("reasons") or {}),
    )


def _numbers(value: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            kept[key] = _numbers(entry)
        elif isinstance(entry, int | float):
            kept[key] = entry
    return kept

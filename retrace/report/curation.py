"""What the curation stage reports of itself, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retrace.report.inputs import Inputs


@dataclass(frozen=True)
class Grid:
    """Mappings with the same keys, a row each: title, column names, rows."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Any]]]


@dataclass(frozen=True)
class Rewrites:
    """Verdicts on the traces of a set that were divided, before and after.

    by: how many were divided by the model and by the rule. before, after: those that
    were right, of `traces`. turned_down: rewrites of the model that failed a check.
    """

    set: str
    traces: int
    by: dict[str, int]
    before: int
    after: int
    turned_down: dict[str, int]


@dataclass(frozen=True)
class Leaks:
    """The search for benchmark problems: counts alone, for a text that overlaps may be
    that of a confidential benchmark.

    planted: kind, planted, found, least share that is promised or none.
    """

    benchmarks: int
    traces: int
    dropped: bool
    hits: dict[str, int]
    planted: list[tuple[str, int, int, float | None]]
    controls: int
    false: int


@dataclass(frozen=True)
class Curation:
    """stages: name, rows in, rows out, reasons. facts: all else, as dotted keys."""

    name: str
    stages: list[tuple[str, int, int, dict[str, int]]]
    rewrites: list[Rewrites]
    leaks: Leaks | None
    shortfalls: list[str]
    facts: dict[str, Any]
    grids: list[Grid]


def tables(inputs: Inputs) -> list[Curation]:
    """One for each dataset that has a report."""
    return [_curation(name, report) for name, report in inputs.dataset_reports.items()]


def _curation(name: str, report: Mapping[str, Any]) -> Curation:
    shown = ("funnel", "rewrites", "contamination", "inputs", "software")
    facts, grids = arrange({k: v for k, v in report.items() if k not in shown})
    return Curation(
        name=name,
        stages=[_stage(stage) for stage in report.get("funnel") or []],
        rewrites=[_rewrites(*one) for one in (report.get("rewrites") or {}).items()],
        leaks=_leaks(report["contamination"]) if "contamination" in report else None,
        shortfalls=list((report.get("mixture") or {}).get("shortfalls") or []),
        facts=facts,
        grids=grids,
    )


def _rewrites(name: str, counts: Mapping[str, Mapping[str, int]]) -> Rewrites:
    verdicts = counts["verdicts"]
    return Rewrites(
        set=name,
        traces=sum(verdicts.values()),
        by=dict(counts["by"]),
        before=sum(n for key, n in verdicts.items() if key.startswith("right before")),
        after=sum(n for key, n in verdicts.items() if key.endswith("right after")),
        turned_down=dict(counts["turned_down"]),
    )


def _leaks(found: Mapping[str, Any]) -> Leaks:
    planted = found.get("planted") or {}
    return Leaks(
        benchmarks=sum(found["benchmarks"].values()),
        traces=found["traces"],
        dropped=found["dropped"],
        hits=dict(
            Counter(f"{hit['method']} in {hit['where']}" for hit in found["hits"])
        ),
        planted=[
            (name, kind["planted"], kind["found"], kind["promised"])
            for name, kind in (planted.get("kinds") or {}).items()
        ],
        controls=planted.get("controls", 0),
        false=planted.get("false", 0),
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

"""Variants side by side: what students differ in, and what that did to their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from retrace.report.inputs import Inputs
from retrace.report.summary import flatten
from retrace.scoring.table import sample_count


@dataclass(frozen=True)
class Ablation:
    """settings: what differs, a value for each model. scores: a cell for each model."""

    models: list[str]
    settings: list[tuple[str, list[Any]]]
    scores: list[tuple[str, list[dict[str, Any] | None]]]


def table(inputs: Inputs) -> Ablation | None:
    """The students of a recipe, or none if there are fewer than two."""
    models = inputs.students()
    if len(models) < 2:
        return None
    found = {(score["benchmark"], score["model"]): score for score in inputs.scores}
    benchmarks = list(dict.fromkeys(benchmark for benchmark, _ in found))
    return Ablation(
        models=models,
        settings=_differences(inputs, models),
        scores=[
            (name, [_cell(found.get((name, model))) for model in models])
            for name in benchmarks
            if any((name, model) in found for model in models)
        ],
    )


def _differences(inputs: Inputs, models: list[str]) -> list[tuple[str, list[Any]]]:
    columns = [_settings(inputs, model) for model in models]
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = [(key, [column.get(key) for column in columns]) for key in keys]
    differing = [
        (key, values)
        for key, values in rows
        if any(value != values[0] for value in values)
    ]
    return [*differing, ("training rows", [_rows(inputs, model) for model in models])]


def _rows(inputs: Inputs, model: str) -> int | None:
    """Rows of the training set of a student, as its report counts them."""
    weights = inputs.section("models")[model]["weights"]
    name = inputs.section("students")[weights].get("dataset")
    report = inputs.dataset_reports.get(name or "") or {}
    return (report.get("train") or {}).get("rows")


def _settings(inputs: Inputs, model: str) -> dict[str, Any]:
    """All that a student is made of, as dotted keys."""
    entry = inputs.section("models")[model]
    student = inputs.section("students")[entry["weights"]]
    dataset = inputs.section("datasets").get(student.get("dataset"), {})
    return flatten(
        {
            "student": entry["weights"],
            **student,
            "dataset": {"name": student.get("dataset"), **dataset},
            "sampling": entry.get("sampling") or {},
            "system": entry.get("system"),
            "few_shot": entry.get("few_shot", False),
        }
    )


def _cell(score: Any) -> dict[str, Any] | None:
    if score is None:
        return None
    found = {key: score[key] for key in ("accuracy", "low", "high")}
    return {**found, "n": sample_count(score)}

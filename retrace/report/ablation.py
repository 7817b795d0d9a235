"""Variants side by side: what students differ in, and what that did to their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from retrace.report.inputs import Inputs
from retrace.report.summary import flatten


@dataclass(frozen=True)
class Ablation:
    """settings: what differs, a value for each model. scores: a cell for each model."""

    models: list[str]
    settings: list[tuple[str, list[str]]]
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


def _differences(inputs: Inputs, models: list[str]) -> list[tuple[str, list[str]]]:
    columns = [_settings(inputs, model) for model in models]
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = [(key, [str(column.get(key, "–")) for column in columns]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


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
    return {key: score[key] for key in ("accuracy", "low", "high")}

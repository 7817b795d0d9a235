"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Timing:
    """What one job took, as Snakemake measured it."""

    stage: str
    job: tuple[str, ...]
    seconds: float
    max_rss_mb: float | None


@dataclass(frozen=True)
class Asked:
    """What a model was asked in a stage, as its journals say, and what that cost."""

    stage: str
    model: str
    answers: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float


@dataclass(frozen=True)
class Inputs:
    """Everything a page shows; files of rows are read twice and never kept whole.

    Mappings have names as keys: `dataset_reports`, `train` and `rejected` those of
    datasets, `manifests` and `metrics` those of students. Of a set in `confidential`,
    only ids, verdicts and reasons are shown.
    """

    recipe: str
    description: str
    config: Json
    scores: Sequence[Json] = ()
    dataset_reports: Mapping[str, Json] = field(default_factory=dict)
    manifests: Mapping[str, Json] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[Json]] = field(default_factory=dict)
    engines: Sequence[Json] = ()
    timings: Sequence[Timing] = ()
    asked: Sequence[Asked] = ()
    problems: Sequence[Path] = ()
    traces: Sequence[Path] = ()
    verdicts: Sequence[Path] = ()
    rewrites: Sequence[Path] = ()
    train: Mapping[str, Path] = field(default_factory=dict)
    rejected: Mapping[str, Path] = field(default_factory=dict)
    confidential: frozenset[str] = frozenset()
    commit: str = ""
    max_rows: int = 1500
    max_bytes: int = 16_000_000

    def section(self, name: str) -> Json:
        """A section of the config, empty where there is none."""
        found: Json = self.config.get(name) or {}
        return found

    def students(self) -> list[str]:
        """The models that answer with the weights of a student."""
        students = self.section("students")
        return [
            name
            for name, model in self.section("models").items()
            if model.get("weights") in students
        ]

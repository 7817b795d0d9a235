"""Time and money by stage, as far as the recipe tells them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retrace.report.inputs import Inputs, Timing

# The stages in the order of the data, by how their rules begin; others come last.
ORDER = ("make", "import", "sample", "judge", "rewrite", "build_dataset", "train")
# Stages whose jobs hold an engine, by the first word of the rule.
ENGINE_VERBS = ("sample", "rewrite")


@dataclass(frozen=True)
class StageCost:
    """What a stage took; gpu_hours is 0 where the recipe names no GPU for it."""

    stage: str
    jobs: int
    seconds: float
    gpu_hours: float
    dollars: float
    max_rss_mb: float | None


def by_stage(inputs: Inputs) -> list[StageCost]:
    """One row for each stage, in the order of the data."""
    groups: dict[str, list[Timing]] = defaultdict(list)
    for timing in inputs.timings:
        groups[timing.stage].append(timing)
    price = float(inputs.section("prices").get("gpu_hour") or 0.0)
    return [
        _stage(inputs, stage, groups[stage], price)
        for stage in sorted(groups, key=_place)
    ]


def training_speed(inputs: Inputs) -> dict[str, float]:
    """Tokens a second of each student: those it saw, by the time of its jobs."""
    seconds: dict[str, float] = defaultdict(float)
    for timing in inputs.timings:
        for name in timing.job:
            if timing.stage.startswith("train") and name in inputs.metrics:
                seconds[name] += timing.seconds
    tokens = {
        student: max((step.get("tokens", 0) for step in steps), default=0)
        for student, steps in inputs.metrics.items()
    }
    return {
        student: tokens[student] / seconds[student]
        for student in tokens
        if tokens[student] and seconds[student]
    }


def gpus(inputs: Inputs, timing: Timing) -> int:
    """GPUs that a job held: those of its engine, or a rank each in training."""
    verb = timing.stage.partition("_")[0]
    for name in timing.job:
        if verb == "train" and name in inputs.manifests:
            training = inputs.manifests[name].get("training") or {}
            return int(training.get("ranks") or 0)
        model: Any = inputs.section("models").get(name)
        if verb in ENGINE_VERBS and model:
            engine = model.get("engine") or {}
            if engine.get("kind") != "vllm":
                return 0
            devices = engine.get("tensor_parallel", 1) * engine.get("data_parallel", 1)
            return int(devices)
    return 0


def _place(stage: str) -> tuple[int, str]:
    places = [i for i, start in enumerate(ORDER) if stage.startswith(start)]
    return (places[0] if places else len(ORDER)), stage


def _stage(
    inputs: Inputs, stage: str, group: Sequence[Timing], price: float
) -> StageCost:
    hours = sum(t.seconds * gpus(inputs, t) for t in group) / 3600
    memory = [t.max_rss_mb for t in group if t.max_rss_mb is not None]
    return StageCost(
        stage=stage,
        jobs=len(group),
        seconds=sum(t.seconds for t in group),
        gpu_hours=hours if price else 0.0,
        dollars=hours * price,
        max_rss_mb=max(memory, default=None),
    )

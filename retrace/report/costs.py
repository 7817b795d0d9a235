"""Time and money by stage, as far as the recipe tells them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retrace.report.inputs import Inputs, Timing


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
    """One row for each stage, in the order in which its first timing comes."""
    groups: dict[str, list[Timing]] = defaultdict(list)
    for timing in inputs.timings:
        groups[timing.stage].append(timing)
    price = float(inputs.section("prices").get("gpu_hour") or 0.0)
    return [_stage(inputs, stage, group, price) for stage, group in groups.items()]


def gpus(inputs: Inputs, job: Sequence[str]) -> int:
    """GPUs of a job, by the model or student that its wildcards name; 0 on a CPU."""
    for name in job:
        model: Any = inputs.section("models").get(name)
        if model:
            engine = model.get("engine") or {}
            if engine.get("kind") != "vllm":
                return 0
            count = engine.get("tensor_parallel", 1) * engine.get("data_parallel", 1)
            return int(count)
        manifest = inputs.manifests.get(name)
        if manifest is not None:
            return int(manifest.get("gpus") or 0)
    return 0


def _stage(
    inputs: Inputs, stage: str, group: Sequence[Timing], price: float
) -> StageCost:
    hours = sum(t.seconds * gpus(inputs, t.job) for t in group) / 3600
    memory = [t.max_rss_mb for t in group if t.max_rss_mb is not None]
    return StageCost(
        stage=stage,
        jobs=len(group),
        seconds=sum(t.seconds for t in group),
        gpu_hours=hours if price else 0.0,
        dollars=hours * price,
        max_rss_mb=max(memory, default=None),
    )

"""Time and money by stage, as far as the recipe tells them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrace.report.inputs import Asked, Inputs, Timing

# The stages in the order of the data, by how their rules begin; others come last.
ORDER = (
    "fetch",
    "make",
    "import",
    "label",
    "sample",
    "judge",
    "rewrite",
    "build_dataset",
    "train",
)


@dataclass(frozen=True)
class StageCost:
    """What a stage took.

    gpu_hours: of engines and training, by the recipe; 0 where that names no GPU.
    gpu_dollars, api_dollars: by the prices of the recipe and of its models.
    answers, prompt_tokens, completion_tokens: as the journals have them.
    """

    stage: str
    jobs: int
    seconds: float
    max_rss_mb: float | None
    gpu_hours: float
    gpu_dollars: float
    api_dollars: float
    answers: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def dollars(self) -> float:
        return self.gpu_dollars + self.api_dollars


def by_stage(inputs: Inputs) -> list[StageCost]:
    """One row for each stage, in the order of the data."""
    timings: dict[str, list[Timing]] = defaultdict(list)
    asked: dict[str, list[Asked]] = defaultdict(list)
    for timing in inputs.timings:
        timings[timing.stage].append(timing)
    for one in inputs.asked:
        asked[one.stage].append(one)
    price = float(inputs.section("prices").get("gpu_hour") or 0.0)
    return [
        _stage(inputs, stage, timings[stage], asked[stage], price)
        for stage in sorted(timings.keys() | asked.keys(), key=_place)
    ]


def total(stages: Sequence[StageCost]) -> StageCost:
    """All stages together; its memory is that of the largest job."""
    memory = [one.max_rss_mb for one in stages if one.max_rss_mb is not None]
    return StageCost(
        stage="all stages",
        jobs=sum(one.jobs for one in stages),
        seconds=sum(one.seconds for one in stages),
        max_rss_mb=max(memory, default=None),
        gpu_hours=sum(one.gpu_hours for one in stages),
        gpu_dollars=sum(one.gpu_dollars for one in stages),
        api_dollars=sum(one.api_dollars for one in stages),
        answers=sum(one.answers for one in stages),
        prompt_tokens=sum(one.prompt_tokens for one in stages),
        completion_tokens=sum(one.completion_tokens for one in stages),
    )


def priced(inputs: Inputs) -> bool:
    """Whether the recipe has a price of anything: without one, no sum is shown."""
    return bool(_sold(inputs) or inputs.section("prices").get("gpu_hour"))


def unknown_apis(inputs: Inputs) -> list[str]:
    """Models that are paid by the token and of which no journal is here: what they
    cost is not known, which is not the same as nothing."""
    asked = {one.model for one in inputs.asked}
    return [name for name in _sold(inputs) if name not in asked]


def _sold(inputs: Inputs) -> list[str]:
    """Models whose tokens have a price."""
    found = []
    for name, model in inputs.section("models").items():
        prices = (model.get("terms") or {}).get("prices") or {}
        if prices.get("prompt") or prices.get("completion"):
            found.append(name)
    return found


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
    """GPUs that a job held: those of the engine it asked, or one a rank in training."""
    if timing.stage.startswith("train"):
        named = [name for name in timing.job if name in inputs.manifests]
        return _ranks(inputs.manifests[named[0]]) if named else 0
    name = _asked_model(inputs, timing)
    engine = (inputs.section("models").get(name) or {}).get("engine") or {}
    if engine.get("kind") != "vllm" or _on_cpu(inputs, name):
        return 0
    return int(engine.get("tensor_parallel", 1) * engine.get("data_parallel", 1))


def _asked_model(inputs: Inputs, timing: Timing) -> str:
    """The model that a job asks, or "": rewriters and judges have models of their own.

    A job is told apart by its wildcards: model, set and shard.
    """
    if len(timing.job) < 2:
        return ""
    model, name = timing.job[:2]
    problem_set = inputs.section("sets").get(name) or {}
    if timing.stage.startswith(("sample", "label")):
        return model
    if timing.stage.startswith("rewrite"):
        rewriters = inputs.section("rewriters")
        rewriter = rewriters.get(problem_set.get("rewriter") or "") or {}
        return str(rewriter.get("model") or "")
    if timing.stage.startswith("judge"):
        return str((problem_set.get("judge") or {}).get("model") or "")
    return ""


def _ranks(manifest: Mapping[str, Any]) -> int:
    """Ranks of a training, each with a GPU; none with a torch that knows no GPU."""
    torch = [pin for pin in manifest.get("software") or [] if pin.startswith("torch==")]
    if any(pin.endswith("+cpu") for pin in torch):
        return 0
    return int((manifest.get("training") or {}).get("ranks") or 0)


def _on_cpu(inputs: Inputs, model: str) -> bool:
    """Whether all that answered as this model ran on a CPU, by the engine contracts."""
    devices = {
        contract.get("device")
        for engine in inputs.engines
        if engine.get("model") == model
        for contract in engine.get("contracts") or [engine]
    }
    return devices == {"cpu"}


def _place(stage: str) -> tuple[int, str]:
    places = [i for i, start in enumerate(ORDER) if stage.startswith(start)]
    return (places[0] if places else len(ORDER)), stage


def _stage(
    inputs: Inputs,
    stage: str,
    group: Sequence[Timing],
    asked: Sequence[Asked],
    price: float,
) -> StageCost:
    hours = sum(t.seconds * gpus(inputs, t) for t in group) / 3600
    memory = [t.max_rss_mb for t in group if t.max_rss_mb is not None]
    return StageCost(
        stage=stage,
        jobs=len(group),
        seconds=sum(t.seconds for t in group),
        max_rss_mb=max(memory, default=None),
        gpu_hours=hours,
        gpu_dollars=hours * price,
        api_dollars=sum(one.dollars for one in asked),
        answers=sum(one.answers for one in asked),
        prompt_tokens=sum(one.prompt_tokens for one in asked),
        completion_tokens=sum(one.completion_tokens for one in asked),
    )

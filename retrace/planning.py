"""From the names of a recipe to the requests they stand for, and their cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrace.config import Model, Recipe, Text
from retrace.cost import Prices
from retrace.engines.base import Engine
from retrace.journal import Index
from retrace.progress import Progress
from retrace.prompts import Prompt, messages
from retrace.rows import Problem
from retrace.sampling import Request, Sampling
from retrace.texts import read_text


@dataclass(frozen=True)
class Weights:
    """What `retrace.engines.load` wants to know of a model's weights."""

    location: str
    revision: str


def weights_of(recipe: Recipe, model: str, models_folder: str = "models") -> Weights:
    """Where a model's weights are: a directory, or a hub id with its revision."""
    name = recipe.models[model].weights
    if name is None:
        return Weights("", "")
    source = recipe.weights.get(name)
    if source is not None and source.kind == "hub":
        return Weights(source.repo, source.revision)
    if source is not None and source.kind == "local":
        return Weights(source.path, "")
    return Weights(f"{models_folder}/{name}", "")


def sampling_of(recipe: Recipe, model: str, problem_set: str) -> Sampling:
    """A set's sampling, with the model's own values over it."""
    values = recipe.sets[problem_set].sampling.model_dump()
    return Sampling.model_validate(values | recipe.models[model].sampling)


def requests_of(
    recipe: Recipe, model: str, problem_set: str, problems: Iterable[Problem]
) -> Iterator[Request]:
    """Every request of a model for a set's problems, in the order of the traces."""
    chosen, section = recipe.models[model], recipe.sets[problem_set]
    prompt = Prompt(
        system=_system(chosen),
        template=chosen.templates.get(problem_set, section.template),
        shots=section.shots if chosen.few_shot else [],
    )
    sampling = sampling_of(recipe, model, problem_set)
    for problem in problems:
        asked = messages(prompt, problem.statement, chosen.few_shot, problem.reference)
        for sample in range(sampling.n):
            yield Request(asked, sampling, sample)


def _system(model: Model) -> str | None:
    """The system text; one that is not fetched yet counts as empty."""
    if not isinstance(model.system, Text):
        return model.system
    file = Path("data/texts", f"{model.system.text}.json")
    return read_text(file) if file.is_file() else ""


def pairs_of(recipe: Recipe) -> list[tuple[str, str, str]]:
    """Every (stage, model, set) that the recipe samples, each pair once."""
    taught = [
        ("teach", dataset.teacher, name)
        for dataset in recipe.datasets.values()
        for name in dataset.mixture
        if recipe.sets[name].teacher is None
    ]
    tested = [
        ("test", model, name)
        for benchmark in recipe.benchmarks.values()
        for model in benchmark.models
        for name in benchmark.sets
    ]
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    for stage, model, name in taught + tested:
        found.setdefault((model, name), (stage, model, name))
    return list(found.values())


def known_requests(
    engine: Engine, requests: Iterable[Request], index: Index
) -> tuple[int, int]:
    """How many requests there are, and how many of them the journals answer."""
    identity = engine.identity()
    keys = {request.key(identity) for request in requests}
    return len(keys), sum(key in index for key in keys)


@dataclass(frozen=True)
class Rate:
    """Tokens of one request and GPU seconds of one token, and where that is from."""

    prompt: float
    completion: float
    gpu_seconds: float | None
    source: str


def rate_of(
    own: Sequence[Progress], others: Sequence[Progress], bound: tuple[float, float]
) -> Rate:
    """Means over the journals of the same model and set, else over others given.

    Without any, `bound`: tokens of a prompt, and the most tokens of an answer.
    """
    for journals, source in ((own, "measured"), (others, "other sets")):
        answered = sum(journal.answered for journal in journals)
        if not answered:
            continue
        completion = sum(journal.completion_tokens for journal in journals)
        seconds = sum(journal.gpu_seconds for journal in journals)
        return Rate(
            sum(journal.prompt_tokens for journal in journals) / answered,
            completion / answered,
            seconds / completion if seconds and completion else None,
            source,
        )
    return Rate(bound[0], bound[1], None, "at most")


def estimate(
    missing: int,
    rate: Rate,
    prices: Prices,
    tokens_per_gpu_second: float | None,
    is_batch: bool = False,
) -> dict[str, Any]:
    """Tokens, GPU hours and dollars for requests that are not yet answered."""
    completion = missing * rate.completion
    per_token = rate.gpu_seconds
    if per_token is None and tokens_per_gpu_second:
        per_token = 1.0 / tokens_per_gpu_second
    hours = None if per_token is None else completion * per_token / 3600.0
    usage = {
        "prompt_tokens": round(missing * rate.prompt),
        "completion_tokens": round(completion),
    }
    dollars = prices.of_usage(usage, is_batch)
    if hours is not None:
        dollars += prices.of_gpus(hours * 3600.0, 1)
    return {**usage, "gpu_hours": hours, "dollars": dollars, "tokens": rate.source}

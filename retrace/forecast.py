"""What comes after sampling, estimated before it exists: rewriting and training.

These are rough on purpose. Each constant says where it is from; docs/recipes.md
compares the outcome with what was published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from retrace.config import HubWeights, Recipe
from retrace.preflight import parameters

# Share of a teacher's traces that is right, until some are judged.
PASSED = 0.6
# Tokens around a trace in a rewriting prompt: the problem and the rules.
AROUND = 700
# Tokens of a solution alone, and of a grade with its sentence or two.
SOLUTION = 500
GRADE = 80
# Tokens of a row beside its trace: system text and problem.
BESIDE = 600

# Operations for a token and a parameter: forward, backward, and forward once more
# because activations are not kept.
OPERATIONS = 8
# Dense bfloat16 operations of an H100 in a second, by its data sheet.
PEAK = 989e12
# Share of the peak: with offload what the published 19 h come to, without it what
# training of this size reaches.
SHARE_OF_PEAK = {True: 0.13, False: 0.35}


Answers = Callable[[str, str], int]
"""How many answers a model's journals hold below a folder."""


def labelling(
    recipe: Recipe, sampled: Iterable[Mapping[str, Any]], answers: Answers
) -> Iterator[dict[str, Any]]:
    """A row for every set that a model grades; `sampled` are the teachers' rows."""
    for row in sampled:
        problem_set = recipe.sets[row["set"]]
        name = problem_set.labeller
        if row["stage"] != "teach" or name is None or not row.get("requests"):
            continue
        problems = row["requests"] // problem_set.sampling.n
        yield _asked(
            recipe,
            ("label", name, row["set"]),
            (problems, answers(name, f"labels/{row['set']}")),
            (AROUND, GRADE),
            "typical",
        )


def rewriting(
    recipe: Recipe, sampled: Iterable[Mapping[str, Any]], answers: Answers
) -> Iterator[dict[str, Any]]:
    """A row for every rewritten set; `sampled` are the rows of the teachers."""
    for row in sampled:
        name = recipe.sets[row["set"]].rewriter
        if row["stage"] != "teach" or name is None or not row.get("requests"):
            continue
        rewriter = recipe.rewriters[name]
        share = 1.0 if rewriter.checks.wrong_too else PASSED
        trace = row["completion_tokens"] / max(row["missing"], 1)
        published = rewriter.checks.strategy == "published"
        longest = min(trace, rewriter.sampling.max_tokens)
        held = answers(rewriter.model, f"rewrites-of-{row['model']}/{row['set']}")
        yield _asked(
            recipe,
            ("rewrite", rewriter.model, row["set"]),
            (round(row["requests"] * share), held),
            (trace + AROUND, longest if published else SOLUTION),
            row["tokens"],
        )


def _asked(
    recipe: Recipe,
    names: tuple[str, str, str],
    counts: tuple[int, int],
    tokens: tuple[float, float],
    source: str,
) -> dict[str, Any]:
    """A row of the plan: requests and answers of a model, tokens of one request."""
    requests, held = counts
    missing = max(requests - held, 0)
    usage = {
        "prompt_tokens": round(missing * tokens[0]),
        "completion_tokens": round(missing * tokens[1]),
    }
    model = recipe.models[names[1]]
    batch = model.engine.kind == "openai_batch"
    prices = model.terms.prices
    dollars = prices.of_usage(usage, batch) if prices.of_tokens else None
    return {
        **dict(zip(("stage", "model", "set"), names, strict=True)),
        "requests": requests,
        "answered": requests - missing,
        "missing": missing,
        **usage,
        "gpu_hours": None,
        "dollars": dollars if missing else 0.0,
        "tokens": source,
    }


def training(recipe: Recipe) -> Iterator[dict[str, Any]]:
    """A row for every student: tokens of all epochs, GPU hours, dollars."""
    for name, student in recipe.students.items():
        base = recipe.weights.get(student.base)
        size = parameters(base.repo) if isinstance(base, HubWeights) else 0.0
        rows, tokens = _rows_and_tokens(recipe, student.dataset)
        if not size or not rows:
            continue
        settings = student.training
        trained = tokens * settings.epochs
        speed = PEAK * SHARE_OF_PEAK[settings.offload != "none"]
        hours = trained * OPERATIONS * size / speed / 3600.0
        yield {
            "stage": "train",
            "model": name,
            "set": student.dataset,
            "requests": rows,
            "answered": 0,
            "missing": rows,
            "prompt_tokens": None,
            "completion_tokens": round(trained),
            "gpu_hours": hours,
            "dollars": hours * recipe.prices.gpu_hour,
            "tokens": "typical",
        }


def expected(recipe: Recipe, set_name: str) -> int | None:
    """Problems of a set that is not there yet, as the recipe expects them."""
    expect = getattr(recipe.sets[set_name].source, "expect", None)
    if isinstance(expect, tuple):
        return int(expect[0] + expect[1]) // 2
    return None if expect is None else int(expect)


def _rows_and_tokens(recipe: Recipe, dataset: str) -> tuple[int, float]:
    """Rows that a training set will have, and their tokens."""
    section = recipe.datasets[dataset]
    caps = {str(key): value for key, value in section.curation.domains.items()}
    rows: dict[str, float] = {}
    tokens: dict[str, float] = {}
    for name, wanted in section.mixture.items():
        problem_set = recipe.sets[name]
        share = PASSED if problem_set.teacher is None else 1.0
        count = min(wanted, share * (expected(recipe, name) or wanted))
        domain = problem_set.source.domain.value
        length = (problem_set.typical_tokens or SOLUTION) + BESIDE
        rows[domain] = rows.get(domain, 0.0) + count
        tokens[domain] = tokens.get(domain, 0.0) + count * length
    kept = {name: min(caps.get(name, count), count) for name, count in rows.items()}
    total = sum(
        tokens[name] / rows[name] * count for name, count in kept.items() if count
    )
    return round(sum(kept.values())), total

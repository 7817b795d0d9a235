"""From judged traces to the rows of a training set, stage by stage.

Stages: verify, structure, suitable, decontaminate, duplicates, best of n, mixture.
Every input is put in order by its ids first, so neither the order of files nor the
number of shards changes a byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from retrace import prompts
from retrace.curation import candidates as stage
from retrace.curation import deduplicate, mix, search, select
from retrace.curation.candidates import Candidate
from retrace.curation.decontaminate import Encoder
from retrace.curation.funnel import Funnel
from retrace.curation.settings import Settings
from retrace.rows import (
    Problem,
    RejectedRow,
    Rewrite,
    Trace,
    TrainingRow,
    Turn,
    Verdict,
    content_id,
)


@dataclass(frozen=True)
class Recipe:
    """What a training set is made by, beside the rows: user turns by set, rows by set,
    the system text and the settings.
    """

    templates: Mapping[str, prompts.Template]
    mixture: Mapping[str, int]
    system: str
    settings: Settings
    confidential: frozenset[str] = frozenset()
    """Benchmark sets of which no word may stand in the report."""


@dataclass(frozen=True)
class Dataset:
    """A training set, all that was left out of it, and what was counted on the way."""

    train: list[TrainingRow]
    rejected: list[RejectedRow]
    report: dict[str, Any]


def build(
    recipe: Recipe,
    problems: Iterable[Problem],
    traces: Iterable[Trace],
    verdicts: Iterable[Verdict],
    rewrites: Iterable[Rewrite],
    benchmarks: Iterable[Problem],
    count_tokens: Callable[[str], int],
    processes: int = 1,
    encoder: Encoder | None = None,
) -> Dataset:
    """Build a training set. `count_tokens` measures a text in the student's tokens;
    `processes` share the search for benchmark problems and change no result; `encoder`
    searches by meaning, where the settings want that.

    Raises:
        KeyError: rows that belong together are not all there.
        ShortfallError: too few rows, and the settings make that an error.
    """
    settings = recipe.settings
    by_id = {row.problem_id: row for row in problems}
    rewritten = {row.trace_id: row for row in rewrites}
    judged = {row.trace_id: row for row in verdicts}
    models: set[str] = set()
    rows = stage.join(by_id, _noting(traces, models), judged, rewritten, settings)
    report = _before(by_id, judged.values(), rows, rewritten)
    report["teacher"] = ", ".join(sorted(models))

    def length(one: Candidate) -> int:
        turns = (recipe.system, _user(recipe, one.problem), one.assistant)
        return sum(count_tokens(text) for text in turns)

    funnel = Funnel()
    if settings.verify:
        rows = funnel.drop("verify", rows, stage.unverified(rows, settings.unchecked))
    rows = funnel.drop("structure", rows, stage.malformed(rows, settings))
    suitable = select.unsuitable(rows, settings.selection, length)
    rows = funnel.drop("suitable", rows, suitable)
    statements = {one.problem.problem_id: one.problem.statement for one in rows}
    clusters = deduplicate.clusters(statements, settings.deduplication)
    report["duplicates"] = _duplicates(clusters, by_id)
    firsts = [statements[key] for key in sorted(set(clusters.of.values()))]
    found = search.search(
        rows,
        list(benchmarks),
        firsts,
        settings.decontamination,
        processes,
        recipe.confidential,
        encoder,
    )
    report["contamination"] = found.report
    rows = funnel.drop("decontaminate", rows, found.faults)
    rows = funnel.drop("duplicates", rows, deduplicate.repeated(rows, clusters))
    surplus = select.surplus(rows, settings.selection, settings.seed)
    rows = funnel.drop("best_of_n", rows, surplus)
    mixed = mix.mix(rows, recipe.mixture, settings)
    rows = funnel.drop("mixture", rows, mixed.surplus)
    report["funnel"] = funnel.report()
    report["mixture"] = {"wanted": mixed.wanted, "shortfalls": mixed.shortfalls}
    train = list(_training_rows(recipe, rows, mixed.copies))
    report["train"] = describe(train, rows, mixed.copies, length)
    rejected = sorted(funnel.rejected, key=lambda one: (one.set, one.problem_id))
    return Dataset(train, rejected, report)


def _before(
    problems: Mapping[str, Problem],
    verdicts: Iterable[Verdict],
    rows: list[Candidate],
    rewrites: Mapping[str, Rewrite],
) -> dict[str, Any]:
    """What goes into the funnel."""
    return {
        "sources": list(_sources(problems.values())),
        "problems": dict(sorted(Counter(one.set for one in problems.values()).items())),
        "pass_rates": _pass_rates(problems, verdicts),
        "rewrites": _rewrites(rows, rewrites),
    }


def describe(
    train: list[TrainingRow],
    rows: list[Candidate],
    copies: Mapping[str, int],
    length: Callable[[Candidate], int],
) -> dict[str, Any]:
    """Counts of the rows that are in, and quantiles of their lengths in tokens."""
    lengths = sorted(length(one) for one in rows for _ in range(copies[one.trace_id]))
    by = Counter(one.by for one in rows for _ in range(copies[one.trace_id]))
    return {
        "rows": len(train),
        "problems": len({row.problem_id for row in train}),
        "sets": dict(sorted(Counter(row.set for row in train).items())),
        "domains": dict(sorted(Counter(row.domain.value for row in train).items())),
        "sections_by": dict(sorted(by.items())),
        "tokens": quantiles(lengths),
    }


def quantiles(values: list[int]) -> dict[str, int]:
    """Least, median, 90 and 99 %, greatest and sum of sorted values."""
    if not values:
        return {}
    at = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    found = {name: values[int(q * (len(values) - 1))] for name, q in at.items()}
    return found | {"sum": sum(values)}


def _training_rows(
    recipe: Recipe, rows: list[Candidate], copies: Mapping[str, int]
) -> Iterator[TrainingRow]:
    for one in rows:
        user = _user(recipe, one.problem)
        for copy in range(copies[one.trace_id]):
            said = [recipe.system, user, one.assistant, one.trace_id, copy]
            yield TrainingRow(
                id=content_id(said),
                system=recipe.system,
                conversations=[
                    Turn(from_="user", value=user),
                    Turn(from_="assistant", value=one.assistant),
                ],
                problem_id=one.problem.problem_id,
                trace_id=one.trace_id,
                set=one.set,
                domain=one.problem.domain,
                pass_rate=one.pass_rate,
            )


def _user(recipe: Recipe, problem: Problem) -> str:
    template = recipe.templates[problem.set]
    return prompts.fill(template, problem.statement, problem.reference)


def _noting(traces: Iterable[Trace], models: set[str]) -> Iterator[Trace]:
    for trace in traces:
        models.add(trace.model)
        yield trace


def _sources(problems: Iterable[Problem]) -> Iterator[dict[str, str]]:
    """Where each set comes from, as its problems say."""
    found: dict[str, dict[str, set[str]]] = {}
    for problem in problems:
        of_set = found.setdefault(problem.set, {})
        for key in ("source", "revision", "license"):
            of_set.setdefault(key, set()).add(str(problem.meta.get(key, "")))
    for name, values in sorted(found.items()):
        joined = {key: ", ".join(sorted(some - {""})) for key, some in values.items()}
        yield {"set": name, **joined}


def _pass_rates(
    problems: Mapping[str, Problem], verdicts: Iterable[Verdict]
) -> dict[str, dict[str, float]]:
    """Problems by set and how many of their samples are right."""
    groups: dict[str, list[float]] = {}
    for problem_id, rate in stage.pass_rates(verdicts).items():
        groups.setdefault(problems[problem_id].set, []).append(rate)
    return {
        name: {
            "problems": len(rates),
            "never": sum(rate == 0 for rate in rates),
            "sometimes": sum(0 < rate < 1 for rate in rates),
            "always": sum(rate == 1 for rate in rates),
            "mean": round(sum(sorted(rates)) / len(rates), 4),
        }
        for name, rates in sorted(groups.items())
    }


def _rewrites(
    rows: list[Candidate], rewrites: Mapping[str, Rewrite]
) -> dict[str, dict[str, Any]]:
    """By set: verdicts before and after, who divided, and what was turned down."""
    found: dict[str, dict[str, Any]] = {}
    for one in rows:
        rewrite = rewrites.get(one.trace_id)
        if rewrite is None or one.rewritten is None:
            continue
        counts = found.setdefault(
            one.set, {"verdicts": Counter(), "by": Counter(), "turned_down": Counter()}
        )
        before = "right" if one.verdict.ok else "wrong"
        after = "right" if one.rewritten.ok else "wrong"
        counts["verdicts"][f"{before} before, {after} after"] += 1
        counts["by"][rewrite.by] += 1
        if rewrite.rejected:
            counts["turned_down"][rewrite.rejected.partition(":")[0]] += 1
    return {
        name: {key: dict(sorted(counts.items())) for key, counts in groups.items()}
        for name, groups in sorted(found.items())
    }


def _duplicates(
    clusters: deduplicate.Clusters, problems: Mapping[str, Problem]
) -> dict[str, Any]:
    groups = clusters.groups()
    across = sum(len({problems[key].set for key in group}) > 1 for group in groups)
    return {
        "problems": len(clusters.of),
        "clusters": len(groups),
        "across_sets": across,
        "exact_copies": len(clusters.exact),
        "largest": [
            [f"{problems[key].set}/{key}" for key in group[:10]]
            for group in sorted(groups, key=lambda group: (-len(group), group))[:10]
        ],
    }

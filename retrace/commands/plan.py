"""`retrace plan`: what a recipe will ask, and what that will cost, before it starts."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrace.commands import add_configfile

if TYPE_CHECKING:
    from retrace.config import Recipe
    from retrace.journal import Index

FIGURES = (
    ("asked", "requests"),
    ("left", "missing"),
    ("in", "prompt_tokens"),
    ("out", "completion_tokens"),
    ("GPU h", "gpu_hours"),
    ("$", "dollars"),
)
SUMMED = ("answered", *(key for _, key in FIGURES))
MEASURED_PROMPTS = 200
BYTES_PER_TOKEN = 3.0
# Tokens of a prompt whose problem is not there yet.
UNSEEN_PROMPT = 400.0


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("plan", help="requests, tokens and dollars ahead")
    add_configfile(parser)
    parser.add_argument(
        "--tokens-per-gpu-second",
        type=float,
        help="completion tokens of one GPU, where no run has measured it",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from retrace import fitting, forecast, preflight
    from retrace.config import ConfigError, merged, read_recipe
    from retrace.journal import JournalError
    from retrace.planning import pairs_of

    try:
        recipe = read_recipe(merged(args.configfile))
        for name, reason in preflight.skipped(recipe, Path()).items():
            print(f"benchmark {name} is skipped: {reason}", file=sys.stderr)
            del recipe.benchmarks[name]
        rows = [
            _row(recipe, *pair, args.tokens_per_gpu_second) for pair in pairs_of(recipe)
        ]
        rows += [
            *forecast.labelling(recipe, rows, _answers),
            *forecast.rewriting(recipe, rows, _answers),
            *forecast.training(recipe),
        ]
        fits = {
            name: fitting.fit(recipe, name, fitting.node_of(recipe, name))
            for name in recipe.students
        }
    except (ConfigError, JournalError, OSError) as error:
        print(f"retrace plan: {error}", file=sys.stderr)
        return 1
    rows.append(_sum(rows))
    if args.json:
        for row in rows:
            if row["stage"] == "train":
                row["memory"] = fits[row["model"]]
        print(json.dumps(rows, indent=2))
    else:
        _print(rows)
    return _tell_memory(fits, args.json)


def _tell_memory(fits: dict[str, dict[str, Any] | None], quiet: bool) -> int:
    """A line for each training; what cannot fit makes the plan fail."""
    for name, told in fits.items():
        if told is None:
            if not quiet:
                print(f"memory for {name}: not known before its base is there")
            continue
        where = [("a node", told["node_gib"], told["node_has_gib"])]
        if told["gpu_gib"]:
            where.insert(0, ("a GPU", told["gpu_gib"], told["gpu_has_gib"]))
        needs = ", ".join(
            f"{what} {wanted:,.1f} GiB" + (f" of {has:,.1f}" if has else "")
            for what, wanted, has in where
        )
        if not quiet:
            print(f"memory for {name}: {needs}")
        if told["refused"]:
            print(f"retrace plan: {name}: {told['refused']}", file=sys.stderr)
    return 1 if any(told and told["refused"] for told in fits.values()) else 0


def _row(
    recipe: Recipe, stage: str, model: str, name: str, throughput: float | None
) -> dict[str, Any]:
    from retrace.forecast import expected
    from retrace.journal import journals_under
    from retrace.planning import estimate, rate_of, requests_of, sampling_of
    from retrace.progress import Progress

    row: dict[str, Any] = {"stage": stage, "model": model, "set": name}
    problems = _problems(recipe, name)
    sampling = sampling_of(recipe, model, name)
    if problems is None:
        requests, answered = (expected(recipe, name) or 0) * sampling.n, 0
        prompt = UNSEEN_PROMPT
        if not requests:
            return row | {"requests": None, "answered": 0, "missing": None}
    else:
        requests, answered = _known(recipe, model, name, problems)
        asked = requests_of(recipe, model, name, problems)
        bodies = [request.body() for request in islice(asked, MEASURED_PROMPTS)]
        sizes = [sum(len(m["content"].encode()) for m in b["messages"]) for b in bodies]
        prompt = sum(sizes) / len(sizes) / BYTES_PER_TOKEN if sizes else 0.0
    journals = Path("journals") / model
    own = [Progress(p).read_on() for p in journals_under(journals / name)]
    others = [Progress(p).read_on() for p in journals_under(journals)]
    typical = recipe.sets[name].typical_tokens
    rate = rate_of(own, others, (prompt, float(typical or sampling.max_tokens)))
    if typical and rate.source == "at most":
        rate = replace(rate, source="typical")
    missing = requests - answered
    chosen = recipe.models[model]
    kind = chosen.engine.kind
    cost = estimate(
        missing,
        rate,
        chosen.terms.prices,
        throughput if kind == "vllm" else None,
        kind == "openai_batch",
    )
    ran_without = others and not any(journal.run.get("gpus") for journal in others)
    if kind == "vllm" and cost["gpu_hours"] is None and missing and not ran_without:
        cost["dollars"] = None
    if kind != "vllm" and missing and not chosen.terms.prices.of_tokens:
        cost["dollars"] = None
    return row | {"requests": requests, "answered": answered, "missing": missing} | cost


def _problems(recipe: Recipe, name: str) -> list[Any] | None:
    """The set's problems, from its files or from a source that is cheap to list."""
    from retrace.rows import Problem, read_rows

    section = recipe.sets[name]
    files = sorted(Path("data/problems", name).glob("*.jsonl"))
    if len(files) == section.shards:
        return [row for file in files for row in read_rows(file, Problem)]
    if section.source.listed_while_planning():
        return list(section.source.problems(name))
    return None


def _known(
    recipe: Recipe, model: str, name: str, problems: list[Any]
) -> tuple[int, int]:
    from retrace import engines
    from retrace.engines.base import EngineError
    from retrace.journal import journals_under
    from retrace.planning import known_requests, requests_of, weights_of

    settings = recipe.models[model].engine.model_dump()
    weights = weights_of(recipe, model)
    requests = requests_of(recipe, model, name, problems)
    try:
        engine = engines.load(
            settings, weights.location, weights.revision, Path("logs/plan.log")
        )
    except EngineError as error:
        # A student that is not trained yet has answered nothing.
        if journals_under(Path("journals") / model):
            _tell(f"{model}: its journals are not looked up: {error}")
        return sum(1 for _ in requests), 0
    return known_requests(engine, requests, _index(model))


@functools.cache
def _tell(message: str) -> None:
    """Once for a model, whatever sets it answers."""
    print(f"retrace plan: {message}", file=sys.stderr)


def _answers(model: str, what: str) -> int:
    """Answers that the journals of a model hold for labelling or rewriting a set."""
    from retrace.journal import journals_under
    from retrace.progress import Progress

    found = journals_under(Path("journals") / model / what)
    return sum(Progress(path).read_on().answered for path in found)


def _index(model: str) -> Index:
    from retrace.journal import Index, journals_under

    index = Index()
    for path in journals_under(Path("journals") / model):
        index.add(path)
    return index


def _sum(rows: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"stage": "all", "model": "", "set": "", "tokens": ""}
    for name in SUMMED:
        # A student's rows are learned, not asked.
        asked = name in ("requests", "answered", "missing")
        counted = [row for row in rows if not (asked and row["stage"] == "train")]
        values = [row.get(name) for row in counted or rows]
        known = [value for value in values if value is not None]
        total[name] = sum(known) if known else None
    total["at_least"] = any(row.get("dollars") is None for row in rows)
    total["unknown_sets"] = sum(row["requests"] is None for row in rows)
    return total


def _print(rows: list[dict[str, Any]]) -> None:
    """A block for each model of a stage, with its sum above its sets."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(
        title="Plan", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0)
    )
    shown.add_column("stage, model, set", min_width=26, overflow="fold")
    for title, _ in FIGURES:
        shown.add_column(title, justify="right", no_wrap=True)
    shown.add_column("tokens", no_wrap=True)
    *planned, total = rows
    blocks: dict[str, list[dict[str, Any]]] = {}
    for row in planned:
        blocks.setdefault(f"{row['stage']} {row['model']}", []).append(row)
    for name, block in blocks.items():
        shown.add_row(name, *_cells(_sum(block)), style="bold")
        for row in block:
            shown.add_row(f"  {row['set']}", *_cells(row))
    shown.add_row("all", *_cells(total), style="bold")
    console = Console()
    console.print(shown)
    if any(row.get("dollars") is None for row in planned):
        console.print(
            "?: no run has measured this yet, and --tokens-per-gpu-second says how fast"
            " a GPU is; of an API, the model's `terms` give no `prices`"
        )


def _cells(row: dict[str, Any]) -> list[str]:
    figures = [_figure(row.get(key), key) for _, key in FIGURES]
    if row.get("at_least"):
        figures[-2:] = [f"≥{told}" if told != "?" else told for told in figures[-2:]]
    elif row.get("gpu_hours") is None and row.get("dollars") is not None:
        figures[-2] = "–"  # an API's
    return [*figures, row.get("tokens", "unknown")]


def _figure(value: float | None, key: str) -> str:
    if value is None:
        return "?"
    if key in ("gpu_hours", "dollars"):
        return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if key.endswith("tokens") and value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:,}"

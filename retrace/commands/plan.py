"""`retrace plan`: what a recipe will ask, and what that will cost, before it starts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrace.config import Recipe
    from retrace.journal import Index

COLUMNS = (
    "stage model set requests answered missing prompt_tokens completion_tokens"
    " gpu_hours dollars tokens"
).split()
MEASURED_PROMPTS = 200
BYTES_PER_TOKEN = 3.0


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("plan", help="requests, tokens and dollars ahead")
    parser.add_argument("--configfile", type=Path, default=Path("config.yaml"))
    parser.add_argument(
        "--tokens-per-gpu-second",
        type=float,
        help="completion tokens of one GPU, where no run has measured it",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import yaml

    from retrace.config import ConfigError, read_recipe
    from retrace.journal import JournalError
    from retrace.planning import pairs_of

    try:
        recipe = read_recipe(yaml.safe_load(args.configfile.read_text("utf-8")))
        rows = [
            _row(recipe, *pair, args.tokens_per_gpu_second) for pair in pairs_of(recipe)
        ]
    except (ConfigError, JournalError, OSError) as error:
        print(f"retrace plan: {error}", file=sys.stderr)
        return 1
    rows.append(_sum(rows))
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        _print(rows)
    return 0


def _row(
    recipe: Recipe, stage: str, model: str, name: str, throughput: float | None
) -> dict[str, Any]:
    from retrace.journal import journals_under
    from retrace.planning import estimate, rate_of, requests_of, sampling_of
    from retrace.progress import Progress

    problems = _problems(recipe, name)
    row: dict[str, Any] = {"stage": stage, "model": model, "set": name}
    if problems is None:
        return row | {"requests": None, "answered": 0, "missing": None}
    requests, answered = _known(recipe, model, name, problems)
    journals = Path("journals") / model
    own = [Progress(p).read_on() for p in journals_under(journals / name)]
    others = [Progress(p).read_on() for p in journals_under(journals)]
    bodies = [
        request.body()
        for request in islice(
            requests_of(recipe, model, name, problems), MEASURED_PROMPTS
        )
    ]
    sizes = [sum(len(m["content"].encode()) for m in b["messages"]) for b in bodies]
    prompt = sum(sizes) / len(sizes) / BYTES_PER_TOKEN if sizes else 0.0
    bound = (prompt, float(sampling_of(recipe, model, name).max_tokens))
    missing = requests - answered
    prices = recipe.models[model].terms.prices
    cost = estimate(missing, rate_of(own, others, bound), prices, throughput)
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
    from retrace.planning import known_requests, requests_of, weights_of

    settings = recipe.models[model].engine.model_dump()
    weights = weights_of(recipe, model)
    requests = requests_of(recipe, model, name, problems)
    try:
        engine = engines.load(
            settings, weights.location, weights.revision, Path("logs/plan.log")
        )
    except EngineError:
        # A student that is not trained yet has answered nothing.
        return sum(1 for _ in requests), 0
    return known_requests(engine, requests, _index(model))


def _index(model: str) -> Index:
    from retrace.journal import Index, journals_under

    index = Index()
    for path in journals_under(Path("journals") / model):
        index.add(path)
    return index


def _sum(rows: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"stage": "all", "model": "", "set": "", "tokens": ""}
    for name in COLUMNS[3:-1]:
        values = [row.get(name) for row in rows]
        known = [value for value in values if value is not None]
        total[name] = sum(known) if known else None
    total["unknown_sets"] = sum(row["requests"] is None for row in rows)
    return total


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(title="Plan", title_justify="left")
    for name in COLUMNS:
        right = name not in ("stage", "model", "set", "tokens")
        shown.add_column(name.replace("_", " "), justify="right" if right else "left")
    for row in rows:
        shown.add_row(*(_cell(row, name) for name in COLUMNS))
    Console().print(shown)


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return "?"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)

"""Build the report of a recipe: one HTML file from everything it made."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retrace import environment
from retrace.cost import Prices
from retrace.progress import Progress
from retrace.report.exports import export, tables
from retrace.report.inputs import Asked, Inputs, Timing
from retrace.report.page import build
from retrace.rows import write_lines
from retrace.scoring.table import read_scores

log = logging.getLogger("build_report")


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s"
    )
    environment.require(args.software)
    config = json.loads(args.config)
    inputs = Inputs(
        recipe=args.recipe,
        description=args.description,
        config=config,
        scores=read_scores(args.scores) if args.scores else [],
        dataset_reports=_json_by_name(args.dataset_reports),
        manifests=_json_by_name(args.manifests),
        metrics={path.parent.name: _json_lines(path) for path in args.metrics},
        engines=[{"file": _tail(path), **_json(path)} for path in args.engines],
        timings=[
            timing for path in args.benchmark_timings for timing in _timings(path)
        ],
        asked=list(_asked(args.journals, config)),
        problems=args.problems,
        traces=args.traces,
        verdicts=args.verdicts,
        rewrites=args.rewrites,
        train={path.parent.name: path for path in args.train},
        rejected={path.parent.name: path for path in args.rejected},
        confidential=frozenset(args.confidential) | _confidential(config),
        commit=args.commit,
        max_rows=args.max_rows,
    )
    page = build(inputs)
    write_lines(args.out, [page])
    if args.figures_out is not None:
        for name, svg in export(inputs).items():
            write_lines(args.figures_out / f"{name}.svg", [svg])
        for name, text in tables(inputs).items():
            write_lines(args.figures_out / f"{name}.csv", text.splitlines())
    log.info("%s: %.1f MB", args.out, len(page.encode()) / 1e6)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--description", default="")
    parser.add_argument("--config", default="{}", help="the resolved recipe, as JSON")
    for option, meaning in (
        ("--scores", "scores/{model}/{benchmark}.json"),
        ("--dataset-reports", "{dataset}/report.json"),
        ("--manifests", "{student}/manifest.json"),
        ("--metrics", "{student}/metrics.jsonl, one JSON object for each step"),
        ("--engines", "engine contracts"),
        ("--problems", "problem shards"),
        ("--traces", "trace shards"),
        ("--verdicts", "verdict shards"),
        ("--rewrites", "rewrite shards"),
        ("--rejected", "{dataset}/rejected.jsonl"),
        ("--train", "{dataset}/train.jsonl"),
        ("--journals", "journals/{model}/..., for tokens and dollars"),
        ("--benchmark-timings", "Snakemake's benchmark files, {rule}/{wildcards}.tsv"),
    ):
        parser.add_argument(option, type=Path, nargs="*", default=[], help=meaning)
    parser.add_argument(
        "--confidential", nargs="*", default=[], help="sets whose texts are never shown"
    )
    parser.add_argument("--commit", default="")
    parser.add_argument(
        "--max-rows", type=int, default=1500, help="rows to read (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--figures-out", type=Path, help="folder for the figures and their numbers"
    )
    parser.add_argument("--software", nargs="*", default=[], help="name==version pins")
    return parser


def _confidential(config: dict[str, Any]) -> set[str]:
    """Sets that are confidential, or come from behind a gate."""
    sets = config.get("sets") or {}
    return {
        name
        for name, about in sets.items()
        if about.get("confidential") or (about.get("source") or {}).get("gated")
    }


def _json_by_name(paths: list[Path]) -> dict[str, Any]:
    return {path.parent.name: _json(path) for path in paths}


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def _tail(path: Path) -> str:
    return "/".join(path.parts[-3:])


def _asked(paths: list[Path], config: dict[str, Any]) -> Iterator[Asked]:
    """What the journals of the recipe's models hold; its tokens' prices are today's.

    GPU hours come from the times of the jobs, so only tokens are priced here.
    """
    models = config.get("models") or {}
    for path in paths:
        parts = path.parts
        start = parts.index("journals") + 1 if "journals" in parts else 0
        model, what = parts[start], parts[start + 1]
        if model not in models:
            continue
        terms = models[model].get("terms") or {}
        prices = Prices.model_validate(terms.get("prices") or {})
        found = Progress(path, prices).read_on()
        yield Asked(
            stage=_asking(what),
            model=model,
            answers=found.answered,
            prompt_tokens=found.prompt_tokens,
            completion_tokens=found.completion_tokens,
            dollars=found.token_dollars,
        )


def _asking(folder: str) -> str:
    """The stage that writes a journal, by the folder below the model's."""
    for start, stage in (
        ("rewrites-of-", "rewrite_traces"),
        ("verdicts-on-", "judge_traces"),
        ("labels", "label_difficulty"),
    ):
        if folder.startswith(start):
            return stage
    return "sample_traces"


def _timings(path: Path) -> list[Timing]:
    """A line for each repetition; the folder below `logs` is the rule."""
    parts = path.with_suffix("").parts
    start = parts.index("logs") + 1 if "logs" in parts else max(0, len(parts) - 2)
    with open(path, encoding="utf-8", newline="") as file:
        return [
            Timing(
                stage=parts[start],
                job=parts[start + 1 :],
                seconds=float(row["s"]),
                max_rss_mb=_number(row.get("max_rss")),
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


def _number(text: str | None) -> float | None:
    """Snakemake writes NA or - for what it couldn't measure."""
    return float(text) if text and text not in ("NA", "-") else None


if __name__ == "__main__":
    sys.exit(main())

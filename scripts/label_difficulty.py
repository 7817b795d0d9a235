"""Label the difficulty of every problem of a shard, from 1 to 10.

By a grading model, through the same sampler as everything else, or from published
labels (JSON lines or parquet) with `--published`. Exit codes as in sample_traces.py.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from retrace import engines, environment
from retrace.difficulty import GRADING, LabelsError, count, graded, published
from retrace.journal import Journal, journals_under
from retrace.prompts import Prompt, messages
from retrace.rows import Label, Problem, read_rows, write_rows
from retrace.sampling import FAILURES, Request, Sampling, ask
from retrace.stopping import command, set_time_limit
from retrace.terms import VARIABLE, Terms, terms_of

log = logging.getLogger("retrace.label_difficulty")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    environment.require(options.software)
    problems = list(read_rows(options.problems, Problem))
    if options.published:
        rows = read_published(options.published, options.columns)
        labels = list(published(problems, rows, *options.columns))
    else:
        labels = grade(options, problems)
    write_rows(options.out, labels)
    log.info("%d labels: %s", len(labels), count(labels))
    return 0


def grade(options: argparse.Namespace, problems: Sequence[Problem]) -> list[Label]:
    """Ask the grading model about every problem."""
    if options.time_limit:
        set_time_limit(options.time_limit)
    requests = [
        Request(messages(options.prompt, problem.statement), options.sampling)
        for problem in problems
    ]
    others = journals_under(options.journals)
    terms = options.terms.get(options.model_name, Terms())
    server_log = options.journal.with_suffix(".engine.log")
    with (
        Journal(options.journal, others) as journal,
        engines.load(
            options.engine | terms.operation,
            options.weights,
            options.revision,
            server_log,
        ) as engine,
    ):
        answers = ask(
            requests,
            engine,
            journal,
            terms.effort,
            budget=terms.open_budget(others, options.journal),
            about={"model": options.model_name, "set": options.problems.parent.name},
        )
        return [graded(*pair) for pair in zip(problems, answers, strict=True)]


def read_published(path: Path, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        file = pyarrow.parquet.ParquetFile(path)
        for batch in file.iter_batches(columns=list(columns)):
            yield from batch.to_pylist()
        return
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise LabelsError(f"{path}:{number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise LabelsError(f"{path}:{number}: expected an object with columns")
            yield row


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--problems", type=Path, required=True)
    add("--published", type=Path, help="labels to look up, in place of a model")
    add(
        "--columns",
        nargs=2,
        default=["problem", "gpt_difficulty_parsed"],
        metavar=("STATEMENT", "DIFFICULTY"),
    )
    add("--model-name", default="")
    add("--engine", type=json.loads, help="engine settings as JSON")
    add("--weights", default="", help="directory, hub id, or an API's model name")
    add("--revision", default="", help="commit of a hub id")
    add("--prompt", type=Prompt.model_validate_json, default=GRADING)
    add(
        "--sampling",
        type=Sampling.model_validate_json,
        default=Sampling(max_tokens=2048),
    )
    terms = os.environ.get(VARIABLE, "{}")
    add("--terms", type=terms_of, default=terms, help="JSON: terms of each model")
    add("--journals", type=Path, help="journals of this model, read")
    add("--journal", type=Path, help="this shard's journal, appended")
    add("--time-limit", type=float, help="minutes after which the job is killed")
    add("--software", nargs="*", default=[], help="pins that must be installed")
    add("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    if not options.published and not (options.engine and options.journal):
        parser.error("give --published, or --engine, --journals and --journal")
    return options


if __name__ == "__main__":
    sys.exit(command(main, (*FAILURES, LabelsError)))

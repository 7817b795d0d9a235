"""Ask a model for n samples of every problem of a shard; write traces.

Exit codes: 0 all asked; 75 stopped by a signal or the time limit, run the same command
to go on; 1 failed, with every finished answer kept in the journal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from retrace import engines, environment
from retrace.journal import Journal, journals_under
from retrace.prompts import Prompt, messages
from retrace.rows import (
    Problem,
    Trace,
    content_id,
    read_rows,
    write_lines,
    write_rows,
)
from retrace.sampling import (
    FAILURES,
    Answer,
    Request,
    Sampling,
    ask,
    describe_contracts,
    trace_of,
)
from retrace.stopping import command, set_time_limit
from retrace.terms import VARIABLE, Terms, terms_of
from retrace.texts import read_text


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    environment.require(options.software)
    if options.time_limit:
        set_time_limit(options.time_limit)
    problems = list(read_rows(options.problems, Problem))
    prompt = with_system(options.prompt, options.system)
    shots = options.few_shot
    requests = [
        Request(asked, options.sampling, sample)
        for problem in problems
        for asked in [messages(prompt, problem.statement, shots, problem.reference)]
        for sample in range(options.sampling.n)
    ]
    log = options.engine_log or options.journal.with_suffix(".engine.log")
    others = journals_under(options.journals)
    terms = options.terms.get(options.model_name, Terms())
    settings = options.engine | terms.operation
    about = {"model": options.model_name, "set": options.problems.parent.name}
    contracts: Counter[str] = Counter()
    with (
        Journal(options.journal, others) as journal,
        engines.load(settings, options.weights, options.revision, log) as engine,
    ):
        answers = ask(
            requests,
            engine,
            journal,
            terms.effort,
            budget=terms.open_budget(others, options.journal),
            about=about,
        )
        write_rows(options.out, traces(options, problems, answers, contracts))
    asked_with = content_id([prompt.model_dump(mode="json"), shots])
    lines = describe_contracts(options.model_name, contracts, asked_with)
    write_lines(options.engine_out, lines)
    return 0


def with_system(prompt: Prompt, file: Path | None) -> Prompt:
    """The prompt with the system text of a file, where there is one."""
    if file is None:
        return prompt
    return prompt.model_copy(update={"system": read_text(file)})


def traces(
    options: argparse.Namespace,
    problems: Sequence[Problem],
    answers: Iterator[Answer],
    contracts: Counter[str],
) -> Iterator[Trace]:
    """A trace for each answer; counts the contracts they were given under."""
    for problem in problems:
        for sample in range(options.sampling.n):
            answer = next(answers)
            contracts[answer.contract] += 1
            yield trace_of(problem, options.model_name, sample, answer)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--problems", type=Path, required=True)
    add("--model-name", required=True)
    add("--engine", type=json.loads, required=True, help="engine settings as JSON")
    add("--weights", default="", help="directory, hub id, or an API's model name")
    add("--revision", default="", help="commit of a hub id")
    add("--prompt", type=Prompt.model_validate_json, required=True)
    add("--system", type=Path, help="file of fetch_text with the system message")
    add("--few-shot", action="store_true")
    add("--sampling", type=Sampling.model_validate_json, required=True)
    terms = os.environ.get(VARIABLE, "{}")
    add("--terms", type=terms_of, default=terms, help="JSON: terms of each model")
    add("--journals", type=Path, required=True, help="journals of this model, read")
    add("--journal", type=Path, required=True, help="this shard's journal, appended")
    add("--engine-log", type=Path)
    add("--time-limit", type=float, help="minutes after which the job is killed")
    add("--software", nargs="*", default=[], help="pins that must be installed")
    add("--out", type=Path, required=True)
    add("--engine-out", type=Path, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(command(main, FAILURES))

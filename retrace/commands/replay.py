"""`retrace replay`: ask again for some traces, and see how many come out the same."""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrace.commands import add_configfile

if TYPE_CHECKING:
    from retrace.config import Recipe
    from retrace.replay import Replay
    from retrace.rows import Trace
    from retrace.sampling import Request


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("replay", help="ask again and compare")
    parser.add_argument("model")
    parser.add_argument("set")
    parser.add_argument("--rows", type=int, default=50, help="traces (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="which traces")
    add_configfile(parser)
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from retrace.config import ConfigError, merged, read_recipe
    from retrace.sampling import FAILURES
    from retrace.stopping import EXIT_AGAIN, Stopped

    if args.rows < 1:
        print(f"retrace replay: --rows is {args.rows}, not above 0", file=sys.stderr)
        return 2
    logging.basicConfig(format="%(asctime)s %(message)s")
    try:
        recipe = read_recipe(merged(args.configfile))
        for kind, name in (("models", args.model), ("sets", args.set)):
            if name not in getattr(recipe, kind):
                files = ", ".join(str(file) for file in args.configfile)
                raise ConfigError(f"{name!r} is not in `{kind}` of {files}")
        replay = _replay(recipe, args)
    except Stopped as stopped:
        print(f"retrace replay: stopped ({stopped})", file=sys.stderr)
        return EXIT_AGAIN
    except (ConfigError, *FAILURES) as error:
        print(f"retrace replay: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(replay.as_json(), indent=2))
    else:
        _print(replay)
    return 0


def _replay(recipe: Recipe, args: argparse.Namespace) -> Replay:
    from retrace import engines
    from retrace.journal import Journal, journals_under
    from retrace.planning import weights_of
    from retrace.replay import compare
    from retrace.sampling import ask

    chosen, contracts = _choose(recipe, args)
    weights = weights_of(recipe, args.model)
    settings = recipe.models[args.model].engine.model_dump()
    terms = recipe.models[args.model].terms
    spent = journals_under(Path("journals", args.model))
    asked = [request for _, request in chosen]
    # A journal of its own: the point is to ask again.
    with (
        tempfile.TemporaryDirectory() as folder,
        Journal(Path(folder) / "replay.jsonl") as journal,
        engines.load(
            settings, weights.location, weights.revision, Path(folder) / "log"
        ) as engine,
    ):
        budget = terms.open_budget(spent, journal.path)
        answers = list(ask(asked, engine, journal, terms.effort, budget=budget))
        contract = engine.contract()
    replay = compare([trace for trace, _ in chosen], answers, contracts, contract)
    return replay.without_texts() if recipe.sets[args.set].confidential else replay


def _choose(
    recipe: Recipe, args: argparse.Namespace
) -> tuple[list[tuple[Trace, Request]], list[dict[str, Any]]]:
    """Some traces with the requests they answer, and the contracts of all of them."""
    from retrace.planning import requests_of, sampling_of
    from retrace.rows import Problem, Trace, read_rows

    folder = Path("data/traces", args.model, args.set)
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise OSError(f"{folder} holds no traces: run the recipe first")
    found: list[tuple[Trace, Request]] = []
    contracts: dict[str, dict[str, Any]] = {}
    samples = sampling_of(recipe, args.model, args.set).n
    for file in files:
        problems = list(read_rows(Path("data/problems", args.set, file.name), Problem))
        traces = list(read_rows(file, Trace))
        if len(traces) != len(problems) * samples:
            raise OSError(f"{file} is not of this config: run the recipe again")
        requests = requests_of(recipe, args.model, args.set, problems)
        found += [
            pair for pair in zip(traces, requests, strict=True) if not pair[0].error
        ]
        told = json.loads(file.with_suffix(".engine.json").read_text("utf-8"))
        for contract in told["contracts"]:
            contract.pop("answers")
            contracts[json.dumps(contract, sort_keys=True)] = contract
    chosen = random.Random(args.seed).sample(found, min(args.rows, len(found)))
    return chosen, list(contracts.values())


def _print(replay: Replay) -> None:
    answered = replay.rows - replay.failed
    print(f"{replay.same} of {answered} came out the same ({replay.rate:.1%})")
    if replay.failed:
        print(f"{replay.failed} could not be asked again")
    for name, values in replay.changed_contract.items():
        print(f"contract: {name} was {values[:-1]}, is {values[-1]}")
    for parting in replay.partings[:10]:
        print(
            f"trace {parting.trace_id} (sample {parting.sample}) parts at character"
            f" {parting.at} of {parting.length}:"
            f" ...{parting.before!r} was {parting.was!r}, is {parting.now!r}"
        )
    if len(replay.partings) > 10:
        print(f"and {len(replay.partings) - 10} more; --json has them all")

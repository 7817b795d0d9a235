"""Speed, memory and recall of curation, beside a plain n-gram search.

    python benchmarks/curation.py [--rows 30000] [--benchmarks 5000]
        [--duplicates 100000] [--trace-words 600] [--processes 2] [--json]

The texts are generated: problems of 40 to 120 words with formulas, one in ten with a
phrase that many problems share, and traces. Leaks of every kind are planted in them.
`any 8-gram` is the search that open-r1 and s1 describe: lower-case words without
punctuation, and a hit for any run of eight words that a benchmark problem has. No row
of the first table is a leak: what is flagged there is flagged in error.
Every measurement runs in a process of its own, so its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from retrace.curation import plants, search
from retrace.curation.candidates import Candidate
from retrace.curation.decontaminate import Index
from retrace.curation.deduplicate import clusters
from retrace.curation.settings import Decontamination, Deduplication
from retrace.rows import Answer, Domain, Problem, Reason, Verdict, content_id

SHARED = (
    "The answer can be written as $\\frac{m}{n}$, where $m$ and $n$ are relatively"
    " prime positive integers. Find $m+n$."
)
LETTERS = "bcdfghjklmnpqrstvwz"
VOWELS = "aeiou"
PER_KIND = 100


def main() -> int:
    args = _parser().parse_args()
    leaks = _apart(_leaks, args)
    rows = [
        _apart(_search, args),
        _apart(_search_statements, args),
        _apart(_any_ngram, args),
    ]
    growth = [_apart(_duplicates, args, count) for count in _sizes(args.duplicates)]
    result = {"search": rows, "leaks": leaks, "duplicates": growth}
    if args.json:
        print(json.dumps(result))
    else:
        _print(args, result)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--benchmarks", type=int, default=5_000)
    parser.add_argument("--duplicates", type=int, default=100_000)
    parser.add_argument("--trace-words", type=int, default=600)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser


# --- Texts ----------------------------------------------------------------------------


class Writer:
    """Writes problems of words with the frequencies of a language."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        spell = random.Random(0)
        self.vocabulary = [
            "".join(
                spell.choice(LETTERS) + spell.choice(VOWELS)
                for _ in range(spell.randint(1, 4))
            )
            for _ in range(20_000)
        ]
        total, self.weights = 0.0, []
        for rank in range(len(self.vocabulary)):
            total += 1 / (rank + 3)
            self.weights.append(total)

    def words(self, count: int) -> list[str]:
        return self.draw.choices(self.vocabulary, cum_weights=self.weights, k=count)

    def problem(self) -> str:
        found = self.words(self.draw.randint(40, 120))
        for place in range(5, len(found), 15):
            a, b = self.draw.randint(2, 9999), self.draw.randint(2, 99)
            found[place] = self.draw.choice(
                [f"${a}$", f"$x = {a}$,", f"$\\frac{{{a}}}{{{b}}}$", f"$x^2 - {b}y$."]
            )
        text = " ".join(found).capitalize() + "."
        return f"{text} {SHARED}" if self.draw.random() < 0.1 else text

    def short(self) -> str:
        a, b = self.draw.randint(100, 99_999), self.draw.choice(self.words(1))
        return f"Find the {b} of {a}."


def _benchmarks(count: int) -> list[Problem]:
    writer = Writer(1)
    texts = [writer.problem() for _ in range(count - PER_KIND)]
    texts += [writer.short() for _ in range(PER_KIND)]
    return [
        Problem.make("exam", Domain.MATH, text, Answer(answer="1")) for text in texts
    ]


def _candidates(count: int, trace_words: int) -> list[Candidate]:
    writer = Writer(2)
    found = []
    for number in range(count):
        problem = Problem.make(
            "train", Domain.MATH, writer.problem(), Answer(answer="1"), {"row": number}
        )
        trace_id = content_id(number)
        verdict = Verdict(
            trace_id=trace_id,
            problem_id=problem.problem_id,
            sample=0,
            ok=True,
            reason=Reason.CORRECT,
        )
        thought = " ".join(writer.words(trace_words))
        found.append(
            Candidate(
                problem, trace_id, 0, thought, "It is 1.", "rule", verdict, None, 1, 0
            )
        )
    return found


# --- Measurements ---------------------------------------------------------------------


def _search(args: argparse.Namespace) -> dict[str, Any]:
    candidates = _candidates(args.rows, args.trace_words)
    return _searched("statements and traces", candidates, args)


def _search_statements(args: argparse.Namespace) -> dict[str, Any]:
    return _searched("statements", _candidates(args.rows, 0), args)


def _searched(
    name: str, candidates: list[Candidate], args: argparse.Namespace
) -> dict[str, Any]:
    benchmarks = _benchmarks(args.benchmarks)
    training = [one.problem.statement for one in candidates]
    settings = Decontamination(planted=0)
    start = _clock()
    found = search.search(candidates, benchmarks, training, settings, args.processes)
    return _row(name, start, len(candidates), len(found.faults))


def _any_ngram(args: argparse.Namespace) -> dict[str, Any]:
    statements = [one.problem.statement for one in _candidates(args.rows, 0)]
    benchmarks = _benchmarks(args.benchmarks)
    start = _clock()
    known = _ngrams_of(one.statement for one in benchmarks)
    flagged = sum(_has_any(known, text) for text in statements)
    return _row("any 8-gram, statements", start, len(statements), flagged)


def _leaks(args: argparse.Namespace) -> dict[str, Any]:
    """Recall of both searches by kind of leak, on texts that are all leaks."""
    benchmarks = _benchmarks(min(args.benchmarks, 1_000))
    training = [one.problem.statement for one in _candidates(2_000, 0)]
    hosts = [" ".join(Writer(3).words(args.trace_words))] * PER_KIND
    index = Index(benchmarks, training, Decontamination())
    measured = plants.measure(index, benchmarks, hosts, PER_KIND)
    known = _ngrams_of(one.statement for one in benchmarks)
    longer = benchmarks[:PER_KIND]
    plain = {
        kind.name: sum(_has_any(known, kind.change(one.statement)) for one in longer)
        / PER_KIND
        for kind in plants.KINDS
    }
    shorter = [one for one in benchmarks if index.is_short(one.problem_id)]
    plain["short"] = sum(_has_any(known, one.statement) for one in shorter) / len(
        shorter
    )
    plain["in_trace"] = sum(
        _has_any(known, plants.inside(hosts[0], one.statement)) for one in longer
    ) / len(longer)
    rows = [
        {"leak": name, "recall": kind["recall"], "any_8_gram": round(plain[name], 4)}
        for name, kind in measured["kinds"].items()
    ]
    return {"kinds": rows, "precision": measured["precision"]}


def _duplicates(args: argparse.Namespace, count: int) -> dict[str, Any]:
    del args
    writer = Writer(4)
    texts, planted = {}, 0
    for number in range(count):
        text = writer.problem()
        texts[f"{number:08d}"] = text
        if number % 20 == 0:
            texts[f"{number:08d}-near"] = f"Read this well. {text}"
            planted += 1
    start = _clock()
    found = clusters(texts, Deduplication())
    return _row("near-duplicates", start, len(texts), len(found.groups())) | {
        "planted": planted
    }


def _clock() -> tuple[float, float]:
    """Wall time and CPU time of this process and of children that have ended."""
    used = os.times()
    return time.perf_counter(), sum(used[:4])


def _row(
    name: str, start: tuple[float, float], rows: int, flagged: int
) -> dict[str, Any]:
    now = _clock()
    seconds, cpu = now[0] - start[0], now[1] - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "what": name,
        "rows": rows,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "peak_mb": round(max(peak, children)),
        "flagged": flagged,
    }


def _apart(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, measure, arguments))
    process.start()
    result: dict[str, Any] = receiver.recv()
    process.join()
    return result


def _send(sender: Any, measure: Callable[..., dict[str, Any]], arguments: Any) -> None:
    sender.send(measure(*arguments))


def _sizes(count: int) -> Sequence[int]:
    return [size for size in (count // 4, count // 2, count) if size]


# --- The plain search -----------------------------------------------------------------


def _ngrams_of(texts: Any) -> set[str]:
    return {ngram for text in texts for ngram in _ngrams(text)}


def _ngrams(text: str) -> list[str]:
    found = re.sub(r"[^\w\s]", "", text.lower()).split()
    return [" ".join(found[i : i + 8]) for i in range(len(found) - 7)]


def _has_any(known: set[str], text: str) -> bool:
    return any(ngram in known for ngram in _ngrams(text))


def _print(args: argparse.Namespace, result: dict[str, Any]) -> None:
    print(f"Search for {args.benchmarks:,} problems, {args.processes} processes")
    _table(result["search"])
    print("\nRecall on planted leaks")
    _table(result["leaks"]["kinds"])
    print(f"precision {result['leaks']['precision']}")
    print("\nNear-duplicates of statements, 1 process")
    _table(result["duplicates"])


def _table(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*rows[0])
    for row in rows:
        table.add_row(
            *(f"{v:,}" if isinstance(v, int) else str(v) for v in row.values())
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())

"""How often the maths judge is right on labelled pairs, and how fast it is.

Reads JSON lines of {gold, answer, equal, trust, kind}. Prints recall and specificity
for each level of trust, for each layer, and for math-verify alone in the same run; then
answers per second per core, on equal, unequal and natural mixes. With --json:
{"by_trust": {TRUST: {"recall", "specificity", "n"}}, "per_second_per_core": {...}}.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil

from retrace.judging import extraction, open_judge
from retrace.judging.base import Judgement
from retrace.judging.pool import Pool
from retrace.rows import Answer, Domain, Problem, Reason

Pair = dict[str, Any]
NATURAL = "graders agree"
ROUNDS = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object only")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--disagreements", action="store_true", help="list them")
    parser.add_argument("--policy", default='{"kind": "math"}', help="JSON")
    args = parser.parse_args()
    with open(args.pairs, encoding="utf-8") as file:
        pairs: list[Pair] = [json.loads(line) for line in file]
    judgements = judge(pairs, args.policy, args.workers)
    speeds = measure_speed(pairs, args.policy, args.workers)
    result: dict[str, dict[str, Any]] = {
        "by_trust": by_trust(pairs, [j.reason is Reason.CORRECT for j in judgements]),
        "per_second_per_core": speeds,
    }
    if args.json:
        print(json.dumps(result, ensure_ascii=False))
        return 0
    print_table("retrace", result["by_trust"])
    print_table("math-verify alone", by_trust(pairs, math_verify(pairs, args.workers)))
    print_layers(pairs, judgements)
    print("answers per second per core:", speeds)
    if args.disagreements:
        print_disagreements(pairs, judgements)
    return 0


def judge(pairs: Sequence[Pair], policy: str, workers: int) -> list[Judgement]:
    """Judge each answer as if a response had given it in its box or tag."""
    with open_judge(json.loads(policy), workers) as opened:
        return list(opened.judge(_items(pairs)))


def _items(pairs: Iterable[Pair]) -> Iterable[tuple[Problem, str]]:
    for pair in pairs:
        gold = extraction.reference_answer(pair["gold"]) or extraction.loose(
            pair["gold"]
        )
        reference = gold if "boxed" not in gold else pair["gold"]
        problem = Problem.make("pairs", Domain.MATH, "", Answer(answer=reference))
        answer = pair["answer"]
        if extraction.find(answer, ["boxed"]) is None:
            answer = f"<answer>{extraction.loose(answer)}</answer>"
        yield problem, answer


def by_trust(pairs: Sequence[Pair], equal: Sequence[bool]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for pair, found in zip(pairs, equal, strict=True):
        groups[pair["trust"]].append((bool(pair["equal"]), found))
    return {
        trust: {
            "recall": _share([found for label, found in rows if label]),
            "specificity": _share([not found for label, found in rows if not label]),
            "n": len(rows),
        }
        for trust, rows in groups.items()
    }


def _share(hits: list[bool]) -> float | None:
    return round(sum(hits) / len(hits), 4) if hits else None


def math_verify(pairs: Sequence[Pair], workers: int) -> list[bool]:
    """What math-verify says of the same texts, both in a box; failures are unequal."""
    entries = (
        (None, [problem.reference.answer, _inside(answer)])  # type: ignore[union-attr]
        for problem, answer in _items(pairs)
    )
    with Pool(
        "retrace.judging.equality:symbolic_alone", workers, 10.0, 2048, ["math_verify"]
    ) as pool:
        return [bool(outcome.value) for _tag, outcome in pool.run(entries)]


def _inside(answer: str) -> str:
    found = extraction.find(answer)
    return found.answer if found else ""


def measure_speed(pairs: Sequence[Pair], policy: str, workers: int) -> dict[str, float]:
    """Answers per CPU second, worker processes and this one together.

    equal: references against themselves in another spelling. unequal: references
    against answers of other pairs. natural: the pairs that graders agree on, as they
    came out of models.
    """
    natural = [pair for pair in pairs if NATURAL in pair["trust"]] or list(pairs)
    equal = [pair for pair in pairs if pair["equal"] and len(pair["answer"]) < 200]
    answers = [pair["answer"] for pair in natural]
    random.Random(0).shuffle(answers)
    unequal = [
        {**pair, "answer": answer}
        for pair, answer in zip(natural, answers, strict=True)
    ]
    mixes = {"equal": equal, "unequal": unequal, "natural": natural}
    return {name: _speed(mix, policy, workers) for name, mix in mixes.items()}


def _speed(pairs: Sequence[Pair], policy: str, workers: int) -> float:
    """The rate of a shard's later items: the first ones start workers and libraries."""
    items = list(_items(pairs))
    with open_judge(json.loads(policy), workers) as opened:
        list(opened.judge(items))
        start = _cpu_seconds()
        list(opened.judge(items * ROUNDS))
        spent = _cpu_seconds() - start
    return round(ROUNDS * len(items) / max(spent, 1e-6), 1)


def _cpu_seconds() -> float:
    """Of this process and its workers, those that have ended too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.process_time() + ended.ru_utime + ended.ru_stime
    for worker in psutil.Process().children():
        used = worker.cpu_times()
        seconds += used.user + used.system
    return seconds


def print_table(title: str, groups: dict[str, dict[str, Any]]) -> None:
    print(f"\n{title}\n{'trust':72} {'n':>6} {'recall':>8} {'specificity':>12}")
    for trust, row in sorted(groups.items()):
        recall, specificity = row["recall"], row["specificity"]
        shown = [
            "-" if value is None else f"{value:.4f}" for value in (recall, specificity)
        ]
        print(f"{trust:72} {row['n']:>6} {shown[0]:>8} {shown[1]:>12}")
    print()


def print_layers(pairs: Sequence[Pair], judgements: Sequence[Judgement]) -> None:
    """How many answers each layer decided, and how many of them as labelled."""
    counts: Counter[tuple[str, bool]] = Counter()
    for pair, found in zip(pairs, judgements, strict=True):
        right = (found.reason is Reason.CORRECT) == bool(pair["equal"])
        counts[found.by or found.reason.value, right] += 1
    print(f"{'layer':24} {'decided':>8} {'as labelled':>12}")
    for layer in sorted({name for name, _right in counts}):
        agreed, not_agreed = counts[layer, True], counts[layer, False]
        print(f"{layer:24} {agreed + not_agreed:>8} {agreed:>12}")
    print()


def print_disagreements(pairs: Sequence[Pair], judgements: Sequence[Judgement]) -> None:
    for pair, found in zip(pairs, judgements, strict=True):
        if (found.reason is Reason.CORRECT) != bool(pair["equal"]):
            shown = [pair["gold"][-120:], pair["answer"][-120:]]
            texts = json.dumps(shown, ensure_ascii=False)
            said = f"{found.reason.value} by {found.by}: {found.detail[:80]}"
            print(f"label {pair['equal']!s:5} {texts} {said}")


if __name__ == "__main__":
    sys.exit(main())

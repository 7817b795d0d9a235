"""The score of a model on a benchmark, from its problems, traces and verdicts.

Only the reason `correct` counts as right. A sample that could not be judged is missing
and not wrong: `unchecked`, `judge_error` and `unparsable_reference` are faults of the
judge or of the problem, and a request that failed for good never reached the model.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from retrace.rows import Domain, Problem, Reason, Trace, Verdict
from retrace.scoring import comparison
from retrace.scoring.estimates import Interval, majority, mean_interval, pass_at_k
from retrace.scoring.verdicts import MARGIN, NOTHING_JUDGED

NOT_JUDGED = frozenset(
    {Reason.UNCHECKED, Reason.JUDGE_ERROR, Reason.UNPARSABLE_REFERENCE}
)
CATEGORIES = (
    "subject",
    "level",
    "difficulty",
    "platform",
    "domain",
    "subdomain",
    "site",
    "family",
    "operation",
)
FLAW = "flaw"
LONG_TEXT = 80
EXAMPLES = "shots"
R = TypeVar("R", Problem, Trace, Verdict)


class ScoreError(ValueError):
    """Rows that do not belong together."""


@dataclass
class Item:
    """A problem of a benchmark and what became of its samples."""

    problem_id: str
    set: str
    expected: int
    categories: dict[str, str]
    domain: Domain
    flawed: bool
    reasons: list[str] = field(default_factory=list)
    votes: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def judged(self) -> int:
        return len(self.votes)

    @property
    def correct(self) -> int:
        return sum(ok for _, ok in self.votes)


@dataclass(frozen=True)
class Tokens:
    """Totals over all samples, as the server counted them."""

    prompt: int
    completion: int
    samples: int
    truncated: int


def score(
    model: str,
    benchmark: str,
    problems: Iterable[Problem],
    traces: Iterable[Trace],
    verdicts: Iterable[Verdict],
    samples: Mapping[str, int],
    protocol: Mapping[str, Any],
    published: Sequence[Mapping[str, Any]] = (),
    margin: float = MARGIN,
) -> dict[str, Any]:
    """The score as a JSON object; scores are in percent, differences in points.

    Args:
        samples: samples wanted of each problem, by set.
        protocol: how the number was made; long texts become hashes.
        published: entries with model, benchmark, score, version and source; those of
            another model or benchmark are left out.

    Raises:
        ScoreError: rows that belong to other problems, traces or sample counts.
    """
    items, tokens = collect(problems, traces, verdicts, samples)
    protocol = _without_examples(protocol)
    result: dict[str, Any] = {"benchmark": benchmark, "model": model}
    result |= summary(items)
    result["reasons"] = _counts(items)
    result["tokens"] = _tokens(tokens)
    result["categories"] = _categories(items)
    if any(item.flawed for item in items):
        result["without_flawed"] = summary([i for i in items if not i.flawed])
    result["protocol"] = shorten(protocol)
    entries = [
        entry
        for entry in published
        if entry.get("model", model) == model
        and entry.get("benchmark", benchmark) == benchmark
    ]
    correct = [item.correct for item in items if item.judged]
    judged = [item.judged for item in items if item.judged]
    result["published"] = [
        comparison.with_published(
            correct,
            judged,
            {**entry, "protocol": _without_examples(entry.get("protocol") or {})},
            protocol,
            margin,
        )
        for entry in entries
        if judged
    ]
    result["verdict"] = (
        comparison.overall(result["published"])
        if judged or not entries
        else NOTHING_JUDGED
    )
    result["items"] = [_item(item) for item in items]
    return result


def collect(
    problems: Iterable[Problem],
    traces: Iterable[Trace],
    verdicts: Iterable[Verdict],
    samples: Mapping[str, int],
) -> tuple[list[Item], Tokens]:
    """Join rows into one item for each problem, in the order of the problems."""
    items = {
        problem.problem_id: _new_item(problem, samples)
        for problem in _once(problems, "problem_id")
    }
    if not items:
        raise ScoreError("no problems: a benchmark needs at least one")
    found = {verdict.trace_id: verdict for verdict in _once(verdicts, "trace_id")}
    prompt = completion = count = truncated = 0
    for trace in _once(traces, "trace_id"):
        item = items.get(trace.problem_id)
        if item is None:
            raise ScoreError(
                f"trace {trace.trace_id} answers problem {trace.problem_id}, which is"
                " not in the problem files: give the files of the same sets"
            )
        _add(item, trace, found.pop(trace.trace_id, None))
        prompt += trace.usage.prompt_tokens
        completion += trace.usage.completion_tokens
        truncated += trace.finish_reason == "length"
        count += 1
    if found:
        raise ScoreError(
            f"{len(found)} verdicts belong to no trace (first: {next(iter(found))}):"
            " give the traces that were judged"
        )
    return list(items.values()), Tokens(prompt, completion, count, truncated)


def summary(items: Sequence[Item]) -> dict[str, Any]:
    """Accuracy with its interval and counts; scores in percent."""
    seen = [item for item in items if item.judged]
    expected = sum(item.expected for item in items)
    judged = sum(item.judged for item in seen)
    result: dict[str, Any] = {"accuracy": None, "low": None, "high": None}
    if seen:
        correct = [item.correct for item in seen]
        interval = mean_interval(correct, [item.judged for item in seen])
        shares = [item.correct / item.judged for item in seen]
        result["accuracy"] = percent(sum(shares) / len(shares))
        result |= _interval(interval)
    result["complete"] = judged == expected
    result["problems"] = len(items)
    result["problems_scored"] = len(seen)
    result["samples_expected"] = expected
    result["samples_judged"] = judged
    result["samples_missing"] = expected - judged
    result["bounds"] = _bounds(items)
    result |= _several(seen)
    return result


def shorten(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol with every long text as its hash, so it fits beside a number."""
    return {key: _short(value) for key, value in sorted(protocol.items())}


def dumps(result: Mapping[str, Any]) -> str:
    """The score as JSON text: keys as they come, one item on a line."""
    head = {key: value for key, value in result.items() if key != "items"}
    text = json.dumps(head, indent=2, ensure_ascii=False)
    lines = [json.dumps(item, ensure_ascii=False) for item in result["items"]]
    return text[:-2] + ',\n  "items": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}"


def percent(share: float) -> float:
    """A share in percent, to four decimals: far below one sample, and stable."""
    return round(100.0 * share, 4)


# --- Joining rows ---------------------------------------------------------------------


def _once(rows: Iterable[R], field: str) -> Iterator[R]:
    """The rows, if no id comes twice: it would count twice, or hide another."""
    seen: set[str] = set()
    for row in rows:
        key = getattr(row, field)
        if key in seen:
            raise ScoreError(
                f"two {type(row).__name__} rows have {field} {key}: give each file once"
            )
        seen.add(key)
        yield row


def _new_item(problem: Problem, samples: Mapping[str, int]) -> Item:
    if problem.set not in samples:
        raise ScoreError(
            f"set {problem.set!r} has no sample count, found {sorted(samples)}"
        )
    return Item(
        problem_id=problem.problem_id,
        set=problem.set,
        expected=samples[problem.set],
        categories={
            key: str(problem.meta[key]) for key in CATEGORIES if key in problem.meta
        },
        domain=problem.domain,
        flawed=bool(problem.meta.get(FLAW)),
    )


def _add(item: Item, trace: Trace, verdict: Verdict | None) -> None:
    if len(item.reasons) >= item.expected:
        raise ScoreError(
            f"problem {item.problem_id} of set {item.set!r} has more than the"
            f" {item.expected} samples that the protocol names"
        )
    if trace.finish_reason == "error":
        item.reasons.append("request_failed")
        return
    if verdict is None:
        item.reasons.append("no_verdict")
        return
    item.reasons.append(verdict.reason.value)
    if verdict.reason not in NOT_JUDGED:
        item.votes.append((verdict.answer, verdict.ok))


# --- Parts of the result --------------------------------------------------------------


def _several(items: Sequence[Item]) -> dict[str, Any]:
    """pass@k, avg@k and maj@k, over the problems that have k judged samples."""
    most = max((item.judged for item in items), default=0)
    if most < 2:
        return {}
    result: dict[str, Any] = {"pass_at": {}, "avg_at": {}, "maj_at": {}}
    for k in _powers(most):
        enough = [item for item in items if item.judged >= k]
        chances = [pass_at_k(item.judged, item.correct, k) for item in enough]
        result["pass_at"][str(k)] = percent(sum(chances) / len(chances))
    full = [item for item in items if item.judged == most]
    shares = [item.correct / item.judged for item in full]
    result["avg_at"][str(most)] = percent(sum(shares) / len(shares))
    if not any(item.domain is Domain.CODE for item in items):
        right = [majority(item.votes) for item in full]
        result["maj_at"][str(most)] = percent(sum(right) / len(right))
    return result


def _powers(most: int) -> list[int]:
    return sorted({2**power for power in range(most.bit_length())} | {most})


def _bounds(items: Sequence[Item]) -> dict[str, float]:
    """The score if every missing sample were wrong, and if every one were right."""
    low = sum(item.correct / item.expected for item in items) / len(items)
    missing = sum(1 - item.judged / item.expected for item in items) / len(items)
    return {"low": percent(low), "high": percent(low + missing)}


def _interval(interval: Interval) -> dict[str, Any]:
    return {
        "low": percent(interval.low),
        "high": percent(interval.high),
        "method": interval.method,
    }


def _counts(items: Sequence[Item]) -> dict[str, int]:
    counts = Counter(reason for item in items for reason in item.reasons)
    counts["no_sample"] = sum(item.expected - len(item.reasons) for item in items)
    return {key: counts[key] for key in sorted(counts) if counts[key]}


def _tokens(tokens: Tokens) -> dict[str, Any]:
    samples = max(tokens.samples, 1)
    return {
        "prompt": tokens.prompt,
        "completion": tokens.completion,
        "completion_mean": round(tokens.completion / samples, 2),
        "truncated": tokens.truncated,
    }


def _categories(items: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """A summary for each value of each category; a category with one value is none."""
    groups: dict[str, dict[str, list[Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        groups["set"][item.set].append(item)
        for key, value in item.categories.items():
            groups[key][value].append(item)
    return {
        key: {value: summary(group[value]) for value in sorted(group)}
        for key, group in groups.items()
        if 1 < len(group) <= 40
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "problem_id": item.problem_id,
        "set": item.set,
        "correct": item.correct,
        "judged": item.judged,
        "expected": item.expected,
        "reasons": item.reasons,
    }


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _short(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple) and value:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
        return (
            [_short(entry) for entry in value] if len(text) < LONG_TEXT else _hash(text)
        )
    if isinstance(value, str) and (len(value) > LONG_TEXT or "\n" in value):
        return _hash(value)
    return value


def _without_examples(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol with few-shot examples as a hash, however short they are: a score is
    published, and the set that they come from may be confidential.
    """
    found: dict[str, Any] = {}
    for key, value in protocol.items():
        if key == EXAMPLES and value:
            text = json.dumps(value, ensure_ascii=False, sort_keys=True)
            found[key] = _hash(text)
        elif isinstance(value, Mapping):
            found[key] = _without_examples(value)
        else:
            found[key] = value
    return found


def _hash(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]

"""What a difference means: against a published number, and between two models.

Against a published number there are three verdicts:

- `reproduced`: the difference is within the margin, by two one-sided tests at 5 %;
- `differs`: it is not, and a two-sided test at 5 % rejects that it is zero;
- `not distinguishable`: the run decides neither; `needed` says what would.

A published number comes without its item results, so it is taken as exact, and the
interval is the one over problems like these. That is cautious, because both numbers
come from the same problems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from retrace.scoring.estimates import (
    Interval,
    Shares,
    cluster_bootstrap,
    mean_interval,
    paired_interval,
)
from retrace.scoring.verdicts import (
    ALPHA,
    DIFFERS,
    MARGIN,
    NOT_PUBLISHED,
    REPRODUCED,
    UNDECIDED,
)

# What names a model, and how its server is run: no difference of protocol.
MODEL_KEYS = ("model", "weights", "revision")
ENGINE_KEYS = ("concurrency", "linger", "start_timeout", "env")

Side = Literal["higher", "lower", "not distinguishable"]


def with_published(
    correct: Sequence[int],
    judged: Sequence[int],
    entry: Mapping[str, Any],
    protocol: Mapping[str, Any],
    margin: float = MARGIN,
) -> dict[str, Any]:
    """Compare a run with one published number.

    Args:
        correct, judged: right and judged samples of each problem, at least one each.
        entry: `score` in percent, `version`, `source`; and `protocol`, if known.
        margin: points within which a score counts as the same.
    """
    score = float(entry["score"])
    shares = np.asarray(correct, dtype=np.float64) / np.asarray(judged)
    wide = mean_interval(correct, judged)
    narrow = mean_interval(correct, judged, 1 - 2 * ALPHA)
    p_value = _p_value(correct, judged, shares, score / 100)
    difference = 100 * float(shares.mean()) - score
    verdict = UNDECIDED
    if -margin < 100 * narrow.low - score and 100 * narrow.high - score < margin:
        verdict = REPRODUCED
    elif p_value < ALPHA and not wide.low <= score / 100 <= wide.high:
        verdict = DIFFERS
    return {
        "score": score,
        "version": entry.get("version", ""),
        "source": entry.get("source", ""),
        "difference": round(difference, 4),
        "low": round(100 * wide.low - score, 4),
        "high": round(100 * wide.high - score, 4),
        "p_value": round(p_value, 6),
        "margin": margin,
        "verdict": verdict,
        "needed": _needed(shares, judged, score / 100, margin)
        if verdict == UNDECIDED
        else None,
        "protocol": _published_protocol(entry.get("protocol"), protocol),
    }


def overall(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """The verdict of a score: that on the version which the recipe names first.

    Which of several versions a run is measured by is decided before it, so no version
    is picked because it is near. The others keep verdicts of their own.
    """
    return str(comparisons[0]["verdict"]) if comparisons else NOT_PUBLISHED


def between_models(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, Any]:
    """Compare two scores of one benchmark, problem by problem: second minus first.

    Where both have one sample of each problem the test is McNemar's, exact, and the
    interval Newcombe's for paired shares; otherwise they are a paired t test and the
    paired bootstrap over problems. The verdict is that of this comparison alone: for
    one of several, see `corrected`.

    Raises:
        ValueError: no problem has judged samples in both.
    """
    pairs = _pairs(first, second)
    if not pairs:
        raise ValueError(
            f"{first['model']} and {second['model']} share no judged problem of"
            f" {first['benchmark']}: score both on the same problems"
        )
    shares = np.array(
        [[a["correct"] / a["judged"], b["correct"] / b["judged"]] for a, b in pairs]
    )
    gains = shares[:, 1] - shares[:, 0]
    single = all(a["judged"] == b["judged"] == 1 for a, b in pairs)
    p_value, test = mcnemar(gains) if single else _paired_t(gains)
    low, high, interval = _paired(shares) if single else _gain_interval(gains)
    difference = float(gains.mean())
    return {
        "benchmark": first["benchmark"],
        "first": first["model"],
        "second": second["model"],
        "first_score": round(100 * float(shares[:, 0].mean()), 4),
        "second_score": round(100 * float(shares[:, 1].mean()), 4),
        "difference": round(100 * difference, 4),
        "low": round(100 * low, 4),
        "high": round(100 * high, 4),
        "interval": interval,
        "p_value": round(p_value, 6),
        "test": test,
        "problems": len(pairs),
        "gained": int((gains > 0).sum()),
        "lost": int((gains < 0).sum()),
        "verdict": _side(difference, p_value, low, high),
        "protocol_differences": protocol_differences(
            _without_model(first["protocol"]), _without_model(second["protocol"])
        ),
    }


def comparable(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two scores have a problem that both have judged samples of."""
    return bool(_pairs(first, second))


def corrected(pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Comparisons that are read together: p by Holm's method, and verdicts after it."""
    p_values = holm([pair["p_value"] for pair in pairs])
    return [
        {
            **pair,
            "p_holm": p_value,
            "verdict": _side(pair["difference"], p_value, pair["low"], pair["high"]),
        }
        for pair, p_value in zip(pairs, p_values, strict=True)
    ]


def mcnemar(gains: Shares) -> tuple[float, str]:
    """McNemar's exact test on differences of -1, 0 and 1: p value and name."""
    gained, lost = int((gains > 0).sum()), int((gains < 0).sum())
    if gained + lost == 0:
        return 1.0, "McNemar, exact"
    from scipy import stats  # seconds to import, and most scores need none of it

    return float(stats.binomtest(gained, gained + lost).pvalue), "McNemar, exact"


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number, by Holm's method, in the given order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, highest)
    return adjusted


def protocol_differences(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[str]:
    """What two protocols do differently, as `key: one against other` lines."""
    left, right = _flat(first), _flat(second)
    return [
        f"{key}: {_shown(left.get(key))} against {_shown(right.get(key))}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    ]


# --- Tests and sample sizes -----------------------------------------------------------


def _p_value(
    correct: Sequence[int], judged: Sequence[int], shares: Shares, score: float
) -> float:
    if max(judged) == 1:
        return _binomial(sum(correct), len(correct), score)
    if np.ptp(shares) == 0.0:
        return _binomial(round(float(shares.sum())), len(shares), score)
    return _t_test(shares, score)


def _t_test(values: Shares, expected: float) -> float:
    from scipy import stats

    return float(stats.ttest_1samp(values, expected).pvalue)


def _binomial(correct: int, n: int, score: float) -> float:
    """Twice the smaller tail of the binomial: each side errs in 2.5 % at most."""
    low = special.bdtr(correct, n, score)
    high = special.bdtrc(correct - 1, n, score)
    return float(min(1.0, 2 * min(low, high)))


def _side(difference: float, p_value: float, low: float, high: float) -> Side:
    if p_value >= ALPHA or low <= 0 <= high:
        return UNDECIDED
    return "higher" if difference > 0 else "lower"


def _paired(shares: Shares) -> Interval:
    first, second = shares[:, 0] == 1, shares[:, 1] == 1
    counts = [first & second, first & ~second, ~first & second, ~first & ~second]
    return paired_interval(*(int(count.sum()) for count in counts))


def _paired_t(gains: Shares) -> tuple[float, str]:
    if len(gains) < 2 or np.ptp(gains) == 0.0:
        return (1.0 if not gains.any() else 0.0), "paired t"
    return _t_test(gains, 0.0), "paired t"


def _gain_interval(gains: Shares) -> Interval:
    if len(gains) < 2 or np.ptp(gains) == 0.0:
        # Nothing varies: the rule of three bounds what so few problems can exclude.
        slack = min(1.0, 3.0 / len(gains))
        centre = float(gains.mean())
        return Interval(max(-1.0, centre - slack), min(1.0, centre + slack), "bound")
    return cluster_bootstrap(gains)


def _needed(
    shares: Shares, judged: Sequence[int], score: float, margin: float
) -> dict[str, int | None]:
    """What would decide, if the difference stayed as it is.

    problems: problems like these, at as many samples of each.
    samples: samples of each of these problems; none where no number is enough.
    """
    n, k = len(shares), float(np.mean(judged))
    z_two, z_one = special.ndtri(1 - ALPHA / 2), special.ndtri(1 - ALPHA)
    mean = float(shares.mean())
    # The largest standard error, as a share, at which one of the verdicts is reached.
    gap = 100 * abs(mean - score)
    error = max(gap / z_two, (margin - gap) / z_one) / 100
    if error <= 0:
        return {"problems": None, "samples": None}
    total = max(mean * (1 - mean), score * (1 - score), 1 / (4 * n))
    if k > 1:
        total = float(shares.var(ddof=1))
    result: dict[str, int | None] = {
        "problems": max(n + 1, math.ceil(total / error**2)),
        "samples": None,
    }
    if k > 1:
        within = float(np.mean(shares * (1 - shares))) * k / (k - 1)
        between = max(0.0, total - within / k)
        room = n * error**2 - between
        if room > 0:
            result["samples"] = max(math.ceil(k) + 1, math.ceil(within / room))
    return result


def _pairs(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[tuple[Any, Any]]:
    others = {item["problem_id"]: item for item in second["items"] if item["judged"]}
    return [
        (item, others[item["problem_id"]])
        for item in first["items"]
        if item["judged"] and item["problem_id"] in others
    ]


# --- Protocols ------------------------------------------------------------------------


def _published_protocol(
    published: Mapping[str, Any] | None, protocol: Mapping[str, Any]
) -> dict[str, Any]:
    """How far two protocols are known to agree.

    known: what the published entry says of its own; nothing if it says nothing.
    differences: theirs against ours, in what is known, for every set of ours.
    """
    known = _flat(published or {})
    whole = {key: value for key, value in protocol.items() if key != "sets"}
    sets = protocol.get("sets") or {"": {}}
    lines: dict[str, None] = {}
    for one in sets.values():
        ours = _flat({**whole, **one})
        compared = {key: ours.get(key) for key in known}
        lines |= dict.fromkeys(protocol_differences(known, compared))
    return {"known": known, "differences": list(lines)}


def _without_model(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol without what two models differ in anyway."""
    kept = {key: value for key, value in protocol.items() if key not in MODEL_KEYS}
    if isinstance(kept.get("engine"), Mapping):
        engine = kept["engine"].items()
        kept["engine"] = {k: v for k, v in engine if k not in ENGINE_KEYS}
    return kept


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, entry in value.items():
        name = f"{prefix}{key}"
        if isinstance(entry, Mapping):
            result |= _flat(entry, f"{name}.")
        else:
            result[name] = entry
    return result


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value in (None, "", [], {}) else str(value)

"""Estimates and intervals of a score, as shares between 0 and 1.

A problem is the unit of all of them: samples of one problem resemble one another, so
they never count as independent observations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]

LEVEL = 0.95
RESAMPLES = 9999
SEED = 20250110

Shares = NDArray[np.float64]


class Interval(NamedTuple):
    low: float
    high: float
    method: str


def mean_interval(
    correct: Sequence[int], judged: Sequence[int], level: float = LEVEL
) -> Interval:
    """The interval of the mean share of right samples, over problems like these.

    Args:
        correct: right samples of each problem.
        judged: judged samples of each problem, at least one.

    One sample of each problem gives Wilson's interval, several the bootstrap over
    problems. Where all problems have the same share there is nothing to resample, and
    Wilson's interval for as many samples as there are problems is the cautious answer.
    """
    shares = np.asarray(correct, dtype=np.float64) / np.asarray(judged)
    if max(judged) == 1:
        return wilson(sum(correct), len(correct), level)
    if np.ptp(shares) == 0.0:
        return wilson(float(shares.sum()), len(shares), level)
    return cluster_bootstrap(shares, level)


def wilson(correct: float, n: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval for `correct` of `n`, without continuity correction.

    `correct` may be a sum of shares. Source: E. B. Wilson, JASA 22 (1927), 209-212.
    """
    if n < 1:
        raise ValueError(f"an interval needs at least one observation, found n={n}")
    z = float(special.ndtri(0.5 + level / 2))
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = (
        z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    )
    low = 0.0 if correct <= 0 else max(0.0, centre - half)
    high = 1.0 if correct >= n else min(1.0, centre + half)
    return Interval(low, high, "wilson")


def paired_interval(both: int, lost: int, gained: int, neither: int) -> Interval:
    """Newcombe's interval of the difference of two shares of the same problems.

    Args:
        both, neither: problems that both models get right, or wrong.
        lost, gained: problems that only the first, or only the second gets right.

    Wilson's intervals of both shares, put together with their correlation. Unlike the
    bootstrap it holds where few problems differ. Source: R. G. Newcombe, Statistics in
    Medicine 17 (1998), 2635-2650, method 10.
    """
    n = both + lost + gained + neither
    first, second = wilson(both + lost, n), wilson(both + gained, n)
    p1, p2 = (both + lost) / n, (both + gained) / n
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    product = float(both * neither - lost * gained)
    if product > 0:
        product = max(product - n / 2, 0.0)
    phi = product / math.sqrt(margins) if margins else 0.0

    def width(up: float, down: float) -> float:
        return math.sqrt(max(0.0, up * up - 2 * phi * up * down + down * down))

    low = p2 - p1 - width(p2 - second.low, first.high - p1)
    high = p2 - p1 + width(second.high - p2, p1 - first.low)
    return Interval(max(-1.0, low), min(1.0, high), "newcombe")


def cluster_bootstrap(values: Shares, level: float = LEVEL) -> Interval:
    """The percentile bootstrap interval of the mean of one value for each problem.

    The level is widened as Student's t demands for so few problems: without it, the
    interval of 30 problems covers 92.5 to 94 % of the time and not 95. Source for the
    widening: Hesterberg, The American Statistician 69 (2015), 371-386.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"a bootstrap over problems needs at least two, found {n}")
    from scipy import stats  # seconds to import, and most scores need none of it

    result = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=_widened(level, n),
        n_resamples=RESAMPLES,
        method="percentile",
        batch=max(1, 2_000_000 // n),
        rng=np.random.default_rng(SEED),
    )
    interval = result.confidence_interval
    return Interval(float(interval.low), float(interval.high), "cluster bootstrap")


def pass_at_k(judged: int, correct: int, k: int) -> float:
    """The chance that one of k samples is right, without bias, from `judged` samples.

    Source: Chen et al., arXiv 2107.03374, equation 1: 1 - C(n - c, k) / C(n, k).
    """
    if not 0 <= correct <= judged or not 1 <= k <= judged:
        raise ValueError(
            f"pass@{k} needs 0 <= correct <= judged and 1 <= k <= judged,"
            f" found correct={correct}, judged={judged}"
        )
    return 1.0 - math.comb(judged - correct, k) / math.comb(judged, k)


def majority(votes: Sequence[tuple[str, bool]]) -> float:
    """The chance that the most frequent answer is right, ties broken at random.

    Args:
        votes: answer and verdict of each sample; an empty answer is no vote.

    Answers are the same vote if they are the same text up to case and white space: a
    voter doesn't know the reference, so equal values in different forms stay apart.
    """
    counts: Counter[str] = Counter()
    right: set[str] = set()
    for answer, ok in votes:
        key = "".join(answer.split()).casefold()
        if key:
            counts[key] += 1
            if ok:
                right.add(key)
    if not counts:
        return 0.0
    most = max(counts.values())
    leaders = [key for key, count in counts.items() if count == most]
    return sum(key in right for key in leaders) / len(leaders)


def _widened(level: float, n: int) -> float:
    """The level at which a bootstrap of n values covers what `level` promises."""
    t = special.stdtrit(n - 1, 0.5 + level / 2) * math.sqrt(n / (n - 1))
    return float(2 * special.ndtr(t) - 1)

"""Estimates against the reference implementations, and against their own promises."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from retrace.scoring import estimates

GRID = [(n, c) for n in (1, 2, 8, 30, 198, 500) for c in {0, 1, n // 3, n - 1, n}]


@pytest.mark.parametrize(("n", "correct"), GRID)
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_is_statsmodels(n: int, correct: int, level: float) -> None:
    low, high = proportion_confint(correct, n, alpha=1 - level, method="wilson")
    found = estimates.wilson(correct, n, level)
    assert found.low == pytest.approx(low, abs=1e-12)
    assert found.high == pytest.approx(high, abs=1e-12)


def test_wilson_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        estimates.wilson(0, 0)


@pytest.mark.parametrize("n", [2, 30, 198])
def test_bootstrap_is_scipys_at_the_widened_level(n: int) -> None:
    values = np.random.default_rng(n).beta(0.6, 0.8, n)
    t = stats.t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1))
    reference = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=2 * stats.norm.cdf(t) - 1,
        n_resamples=estimates.RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(99),
    ).confidence_interval
    found = estimates.cluster_bootstrap(values)
    spread = values.std(ddof=1) / np.sqrt(n)
    assert found.low == pytest.approx(reference.low, abs=0.08 * spread)
    assert found.high == pytest.approx(reference.high, abs=0.08 * spread)


def test_the_same_samples_give_the_same_interval() -> None:
    values = np.random.default_rng(3).random(40)
    assert estimates.cluster_bootstrap(values) == estimates.cluster_bootstrap(values)


def test_equal_shares_fall_back_to_wilson() -> None:
    found = estimates.mean_interval([4, 4, 4], [4, 4, 4])
    assert found == estimates.wilson(3, 3)
    assert found.low < 1.0


@pytest.mark.parametrize(("n", "c"), [(4, 0), (4, 1), (5, 2), (6, 5), (6, 6)])
def test_pass_at_k_counts_subsets(n: int, c: int) -> None:
    samples = [True] * c + [False] * (n - c)
    for k in range(1, n + 1):
        subsets = list(combinations(samples, k))
        share = sum(any(subset) for subset in subsets) / len(subsets)
        assert estimates.pass_at_k(n, c, k) == pytest.approx(share)


def test_pass_at_k_is_the_published_product() -> None:
    """The form of the paper's own listing: 1 - prod(1 - k / (n - c + 1 .. n))."""
    for n, c, k in [(200, 17, 100), (64, 3, 8), (16, 1, 16), (10, 9, 2)]:
        product = (
            1.0
            if n - c < k
            else 1.0 - float(np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))
        )
        assert estimates.pass_at_k(n, c, k) == pytest.approx(product, abs=1e-12)


@pytest.mark.parametrize(("judged", "correct", "k"), [(2, 3, 1), (2, 1, 3), (2, 1, 0)])
def test_pass_at_k_refuses_impossible_counts(judged: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass@"):
        estimates.pass_at_k(judged, correct, k)


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([("7", True), ("7", True), ("8", False)], 1.0),
        ([("7", True), ("8", False), (" 8 ", False)], 0.0),
        ([("7", True), ("8", False)], 0.5),
        ([("a b", True), ("A  B", True), ("c", False)], 1.0),
        ([("", False), ("", False), ("7", True)], 1.0),
        ([("", False)], 0.0),
        ([], 0.0),
    ],
)
def test_majority(votes: list[tuple[str, bool]], expected: float) -> None:
    assert estimates.majority(votes) == expected


def test_the_paired_interval_is_the_published_example() -> None:
    """Newcombe 1998, table III: 36 both, 12 the one, 2 the other, none neither."""
    found = estimates.paired_interval(36, 2, 12, 0)
    assert found[:2] == pytest.approx((0.0569, 0.3404), abs=5e-5)
    turned = estimates.paired_interval(36, 12, 2, 0)
    assert turned[:2] == pytest.approx((-0.3404, -0.0569), abs=5e-5)


# --- Coverage, by simulation ----------------------------------------------------------


@pytest.mark.parametrize("n", [30, 198, 500])
def test_wilson_covers_what_it_promises(n: int) -> None:
    """The exact coverage, averaged over shares from 10 to 90 %."""
    outcomes = np.arange(n + 1)
    bounds = [estimates.wilson(int(k), n)[:2] for k in outcomes]
    low, high = np.array(bounds).T
    coverage = [
        stats.binom.pmf(outcomes, n, share)[(low <= share) & (share <= high)].sum()
        for share in np.linspace(0.1, 0.9, 161)
    ]
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("n", [20, 60, 198])
def test_the_paired_interval_covers_what_it_promises(n: int) -> None:
    """2,000 draws of two models: one right on half of the problems, one on 65 %."""
    counts = np.random.default_rng(5).multinomial(n, [0.42, 0.08, 0.23, 0.27], 2000)
    found = {
        tuple(draw): estimates.paired_interval(*draw)
        for draw in {tuple(int(one) for one in draw) for draw in counts}
    }
    covered = [
        found[tuple(draw)].low <= 0.15 <= found[tuple(draw)].high for draw in counts
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("n", "a", "b"),
    [(30, 0.6, 0.78), (30, 2.2, 0.35), (198, 2.2, 0.35), (500, 0.6, 0.78)],
)
def test_bootstrap_covers_what_it_promises(
    n: int, a: float, b: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 draws of avg@8: problems from a population, eight samples of each."""
    monkeypatch.setattr(estimates, "RESAMPLES", 999)
    rng = np.random.default_rng(0)
    truth = a / (a + b)
    covered = 0
    for _ in range(2000):
        correct = rng.binomial(8, rng.beta(a, b, n))
        found = estimates.mean_interval([int(c) for c in correct], [8] * n)
        covered += found.low <= truth <= found.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)

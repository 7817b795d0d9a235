"""Verdicts: what they say, how often they err, and the tests behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from retrace.scoring import comparison
from retrace.scoring.verdicts import DIFFERS, REPRODUCED, UNDECIDED

# Problems and score of the published table of Sky-T1-32B-Preview.
PUBLISHED = {
    "MATH500": (500, 86.4),
    "AIME2024": (30, 43.3),
    "LiveCodeBench easy": (182, 86.3),
    "LiveCodeBench medium": (206, 56.8),
    "LiveCodeBench hard": (123, 17.9),
    "GPQA-Diamond": (198, 56.8),
}


def against(right: int, n: int, published: float, **entry: Any) -> dict[str, Any]:
    correct = [1] * right + [0] * (n - right)
    return comparison.with_published(
        correct, [1] * n, {"score": published, **entry}, {"sampling": {"n": 1}}
    )


def score(model: str, correct: list[int], judged: int = 1) -> dict[str, Any]:
    items = [
        {"problem_id": str(number), "correct": right, "judged": judged}
        for number, right in enumerate(correct)
    ]
    return {"model": model, "benchmark": "b", "items": items, "protocol": {}}


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_honest_rerun_rarely_differs(name: str) -> None:
    """The exact chance, and 2,000 draws: at most 5 % of reruns are called different."""
    n, published = PUBLISHED[name]
    verdicts = [against(right, n, published)["verdict"] for right in range(n + 1)]
    chances = stats.binom.pmf(np.arange(n + 1), n, published / 100)
    differs = np.array([verdict == DIFFERS for verdict in verdicts])
    assert chances[differs].sum() <= 0.05
    draws = np.random.default_rng(1).binomial(n, published / 100, 2000)
    assert differs[draws].mean() <= 0.05


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_test_against_a_number_is_the_exact_one(name: str) -> None:
    n, published = PUBLISHED[name]
    for right in range(0, n + 1, 7):
        low, high = proportion_confint(right, n, method="beta")
        rejected = against(right, n, published)["p_value"] < 0.05
        assert rejected == (not low <= published / 100 <= high)


def test_a_true_drop_is_found() -> None:
    draws = np.random.default_rng(2).binomial(500, 0.664, 2000)
    found = {int(r): against(int(r), 500, 86.4)["verdict"] for r in set(draws)}
    assert np.mean([found[int(right)] == DIFFERS for right in draws]) >= 0.99


@pytest.mark.parametrize("right", range(9, 19))
def test_one_run_of_aime_decides_nothing(right: int) -> None:
    assert 27 <= 100 * right / 30 <= 61
    assert against(right, 30, 43.3)["verdict"] == UNDECIDED


def test_what_each_verdict_needs() -> None:
    assert against(432, 500, 86.4)["verdict"] == REPRODUCED
    assert against(400, 500, 86.4)["verdict"] == DIFFERS
    near = against(447, 500, 86.4)
    assert near["verdict"] == UNDECIDED
    assert near["difference"] == pytest.approx(3.0)
    assert near["low"] < 0 < near["high"]


@pytest.mark.parametrize(
    ("right", "n", "published"), [(110, 198, 56.8), (10, 30, 43.3)]
)
def test_the_needed_number_of_problems_decides(
    right: int, n: int, published: float
) -> None:
    entry = against(right, n, published)
    needed = entry["needed"]["problems"]
    assert entry["verdict"] == UNDECIDED
    assert needed > n
    larger = against(round(right / n * needed * 1.1), round(needed * 1.1), published)
    assert larger["verdict"] != UNDECIDED
    smaller = against(round(right / n * needed * 0.8), round(needed * 0.8), published)
    assert smaller["verdict"] == UNDECIDED


def test_the_needed_number_of_samples_decides() -> None:
    """Of problems that are alike, more samples are as good as more problems."""
    rng = np.random.default_rng(4)
    correct = [int(c) for c in rng.binomial(2, 0.5, 60)]
    entry = comparison.with_published(correct, [2] * 60, {"score": 50.0}, {})
    assert entry["verdict"] == UNDECIDED
    k = entry["needed"]["samples"]
    assert k is not None
    more = [int(c) for c in rng.binomial(4 * k, sum(correct) / 120, 60)]
    again = comparison.with_published(more, [4 * k] * 60, {"score": 50.0}, {})
    assert again["verdict"] != UNDECIDED


def test_differences_of_the_protocol_are_said() -> None:
    entry = against(432, 500, 86.4, protocol={"sampling": {"n": 8}, "grader": "other"})
    assert entry["protocol"] == {
        "known": {"sampling.n": 8, "grader": "other"},
        "differences": ["grader: other against nothing", "sampling.n: 8 against 1"],
    }


def test_a_protocol_that_nobody_stated_is_not_called_the_same() -> None:
    assert against(432, 500, 86.4)["protocol"] == {"known": {}, "differences": []}


def test_a_published_protocol_is_compared_with_every_set() -> None:
    published = {"score": 50.0, "protocol": {"sampling": {"temperature": 0.0, "n": 1}}}
    ours = {
        "few_shot": False,
        "sets": {
            "easy": {"sampling": {"temperature": 0.0, "n": 1}},
            "hard": {"sampling": {"temperature": 0.7, "n": 8}},
        },
    }
    entry = comparison.with_published([1, 0], [1, 1], published, ours)
    assert entry["protocol"]["differences"] == [
        "sampling.n: 1 against 8",
        "sampling.temperature: 0.0 against 0.7",
    ]


def test_the_version_named_first_decides() -> None:
    versions = [against(412, 500, 92.0), against(412, 500, 82.4)]
    assert [version["verdict"] for version in versions] == [DIFFERS, REPRODUCED]
    assert comparison.overall(versions) == DIFFERS
    assert comparison.overall(versions[1:]) == REPRODUCED
    assert comparison.overall([]) == "not published"


# --- Between models -------------------------------------------------------------------


@pytest.mark.parametrize(("gained", "lost"), [(5, 0), (9, 2), (40, 21), (3, 3), (0, 0)])
def test_mcnemar_is_statsmodels(gained: int, lost: int) -> None:
    gains = np.array([1.0] * gained + [-1.0] * lost + [0.0] * 30)
    reference = mcnemar([[20, gained], [lost, 10]], exact=True)
    assert comparison.mcnemar(gains)[0] == pytest.approx(reference.pvalue)


def test_paired_models() -> None:
    first = score("base", [0] * 30 + [1] * 10)
    second = score("student", [1] * 20 + [0] * 10 + [1] * 10)
    pair = comparison.between_models(first, second)
    assert pair["verdict"] == "higher"
    assert (pair["test"], pair["interval"]) == ("McNemar, exact", "newcombe")
    assert (pair["gained"], pair["lost"], pair["difference"]) == (20, 0, 50.0)
    assert pair["low"] > 30
    back = comparison.between_models(second, first)
    assert back["verdict"] == "lower"
    assert back["difference"] == -50.0


def test_paired_interval_is_narrower_than_two_separate_ones() -> None:
    rng = np.random.default_rng(8)
    skill = rng.random(200)
    first = score("a", [int(c) for c in rng.binomial(8, skill)], 8)
    second = score("b", [int(c) for c in rng.binomial(8, skill)], 8)
    pair = comparison.between_models(first, second)
    reference = stats.ttest_rel(
        [item["correct"] / 8 for item in second["items"]],
        [item["correct"] / 8 for item in first["items"]],
    )
    assert pair["p_value"] == pytest.approx(float(reference.pvalue), abs=1e-6)
    assert pair["high"] - pair["low"] < 6
    low, high = reference.confidence_interval()
    assert (pair["low"], pair["high"]) == pytest.approx(
        (100 * low, 100 * high), abs=0.15
    )


def test_several_comparisons_are_judged_together() -> None:
    first = score("base", [0] * 40)
    one = comparison.between_models(first, score("student", [1] * 6 + [0] * 34))
    many = comparison.corrected([one, one, one])
    assert (one["verdict"], one["p_value"]) == ("higher", 0.03125)
    assert {pair["verdict"] for pair in many} == {"not distinguishable"}
    assert many[0]["p_holm"] == pytest.approx(3 * 0.03125)


def test_equal_models_are_not_told_apart() -> None:
    same = score("a", [1, 0, 1, 1])
    pair = comparison.between_models(same, score("b", [1, 0, 1, 1]))
    assert pair["verdict"] == "not distinguishable"
    assert pair["p_value"] == 1.0
    assert pair["low"] < 0 < pair["high"]


def test_models_without_a_common_problem_are_refused() -> None:
    other = score("b", [1])
    other["items"][0]["problem_id"] = "elsewhere"
    assert not comparison.comparable(score("a", [1]), other)
    with pytest.raises(ValueError, match="share no judged problem"):
        comparison.between_models(score("a", [1]), other)


def test_the_scores_of_a_pair_are_those_of_its_common_problems() -> None:
    first, second = score("base", [1, 0, 0, 0]), score("student", [1, 1, 0, 1])
    first["items"][3]["judged"] = 0
    pair = comparison.between_models(first, second)
    assert (pair["first_score"], pair["second_score"]) == (33.3333, 66.6667)
    assert pair["difference"] == pytest.approx(33.3333, abs=1e-3)


def test_what_names_a_model_is_no_difference_of_protocol() -> None:
    first, second = score("a", [1]), score("b", [1])
    first["protocol"] = {"weights": "x", "sampling": {"temperature": 0}}
    second["protocol"] = {"weights": "y", "sampling": {"temperature": 0.7}}
    pair = comparison.between_models(first, second)
    assert pair["protocol_differences"] == ["sampling.temperature: 0 against 0.7"]


def test_holm_is_statsmodels() -> None:
    values = [0.01, 0.04, 0.03, 0.005, 0.9, 0.04]
    reference = multipletests(values, method="holm")[1]
    assert comparison.holm(values) == pytest.approx(list(reference))
    assert comparison.holm([]) == []

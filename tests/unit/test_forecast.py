"""The plan of the Sky-T1 recipe against what was published."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrace import forecast
from retrace.config import Recipe, merged, read_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe(merged([ROOT / "config.yaml"]), ROOT)


def test_training_is_within_a_factor_of_the_published_hours(recipe: Recipe) -> None:
    (row,) = forecast.training(recipe)
    assert 15_000 <= row["requests"] <= 18_000
    assert 19 / 1.5 <= row["gpu_hours"] / 8 <= 19 * 1.5
    assert 450 / 1.5 <= row["dollars"] <= 450 * 1.5


def test_rewriting_is_within_a_factor_of_the_published_dollars(recipe: Recipe) -> None:
    sampled = []
    for name in recipe.datasets["sky-t1"].mixture:
        count = forecast.expected(recipe, name)
        tokens = recipe.sets[name].typical_tokens
        if count is None or tokens is None:
            continue
        row = {"stage": "teach", "model": "t", "set": name}
        row |= {"requests": count, "missing": count}
        sampled.append(row | {"completion_tokens": count * tokens, "tokens": "typical"})
    rows = list(forecast.rewriting(recipe, sampled, lambda model, what: 0))
    assert {row["set"] for row in rows} == {
        name
        for name in recipe.datasets["sky-t1"].mixture
        if recipe.sets[name].rewriter is not None
    }
    dollars = sum(row["dollars"] for row in rows)
    # Published without the Batch API's discount of one half.
    assert 100 / 2 <= 2 * dollars <= 100 * 2


def test_sets_are_expected_before_they_are_there(recipe: Recipe) -> None:
    assert forecast.expected(recipe, "math500") == 500
    assert forecast.expected(recipe, "still2-science") == (200 + 1500) // 2


def test_what_the_journals_hold_is_not_paid_again(recipe: Recipe) -> None:
    asked = {"stage": "teach", "model": "qwq", "set": "apps", "requests": 100}
    asked |= {"missing": 100, "completion_tokens": 100_000, "tokens": "measured"}
    held = {("gpt-4o-mini", "rewrites-of-qwq/apps"): 30}

    def answers(model: str, what: str) -> int:
        return held.get((model, what), 0)

    (row,) = forecast.rewriting(recipe, [asked], answers)
    assert (row["requests"], row["answered"], row["missing"]) == (100, 30, 70)
    assert row["completion_tokens"] == 70 * 1000
    held["gpt-4o-mini", "rewrites-of-qwq/apps"] = 130
    (row,) = forecast.rewriting(recipe, [asked], answers)
    assert (row["missing"], row["dollars"]) == (0, 0.0)


def test_grading_is_in_the_plan(recipe: Recipe) -> None:
    apps = recipe.sets["apps"].model_copy(update={"labeller": "gpt-4o-mini"})
    graded = recipe.model_copy(update={"sets": recipe.sets | {"apps": apps}})
    asked = {"stage": "teach", "model": "qwq", "set": "apps", "requests": 100}
    (row,) = forecast.labelling(graded, [asked], lambda model, what: 0)
    assert (row["stage"], row["model"], row["missing"]) == ("label", "gpt-4o-mini", 100)
    assert row["dollars"] > 0
    assert list(forecast.labelling(recipe, [asked], lambda model, what: 0)) == []

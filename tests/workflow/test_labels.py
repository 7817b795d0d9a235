"""The rule that grades difficulty: it runs where a set names a labeller, and nowhere
else, and its labels are an input of the training set."""

from __future__ import annotations

import json

import pytest
from conftest import Checkout

pytestmark = pytest.mark.slow

LABELS = "data/labels/plain/names/0000.jsonl"


def test_a_set_with_a_labeller_is_graded(checkout: Checkout) -> None:
    checkout.recipe["sets"]["names"]["labeller"] = "plain"
    planned = checkout.plan()
    assert planned["label_difficulty"] == {"plain/names/0000"}
    checkout.snakemake("--until", "label_difficulty")
    text = (checkout.path / LABELS).read_text("utf-8")
    labels = [json.loads(line) for line in text.splitlines()]
    problems = checkout.path / "data/problems/names/0000.jsonl"
    asked = [json.loads(line)["problem_id"] for line in problems.open(encoding="utf-8")]
    assert [label["problem_id"] for label in labels] == asked
    # The model of these tests writes nonsense.
    assert {label["reason"] for label in labels} <= {"unparsable", "truncated"}
    assert "label_difficulty" not in checkout.plan()
    del checkout.recipe["sets"]["names"]["labeller"]
    assert not any(LABELS in line for line in checkout.snakemake("-n").splitlines())

"""A config that is wrong says where and what to write instead, and nothing runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Checkout, load_recipe

from retrace.config import ConfigError, read_recipe

Recipe = dict[str, Any]


def typo(recipe: Recipe) -> None:
    recipe["sets"]["sums"]["samplng"] = 3


def typo_in_a_source(recipe: Recipe) -> None:
    recipe["sets"]["sums"]["source"]["cuont"] = 3


def unknown_set(recipe: Recipe) -> None:
    recipe["benchmarks"]["sums"]["sets"] = ["sums-nwe"]


def unknown_dataset(recipe: Recipe) -> None:
    recipe["weights"] = {"base": {"kind": "local", "path": "tiny"}}
    recipe["students"] = {
        "pupil": {
            "base": "base",
            "dataset": "everythin",
            "training": {
                "epochs": 1,
                "learning_rate": 1e-4,
                "batch_size": 2,
                "max_length": 64,
            },
        }
    }


def no_shards(recipe: Recipe) -> None:
    recipe["sets"]["sums"]["shards"] = 0


def missing_key(recipe: Recipe) -> None:
    del recipe["datasets"]["everything"]["teacher"]


def bad_kind(recipe: Recipe) -> None:
    recipe["sets"]["sums"]["judge"] = {"kind": "maths"}


FAULTS: list[tuple[Callable[[Recipe], None], list[str]]] = [
    (typo, ["sets.sums.samplng", "did you mean 'sampling'?"]),
    (typo_in_a_source, ["sets.sums.source.cuont", "did you mean 'count'?"]),
    (unknown_set, ["benchmarks.sums.sets", "did you mean 'sums-new'?"]),
    (unknown_dataset, ["students.pupil.dataset", "did you mean 'everything'?"]),
    (no_shards, ["sets.sums.shards", "greater than or equal to 1", "found 0"]),
    (missing_key, ["datasets.everything.teacher: missing: add this key"]),
    (bad_kind, ["sets.sums.judge", "'math'", "found {'kind': 'maths'}"]),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS)
def test_a_fault_is_one_short_line_with_its_place_and_cure(
    fault: Callable[[Recipe], None], said: list[str]
) -> None:
    recipe = load_recipe()
    fault(recipe)
    with pytest.raises(ConfigError) as error:
        read_recipe(recipe)
    lines = str(error.value).splitlines()
    assert len(lines) == 1
    assert len(lines[0]) < 250
    assert all(words in lines[0] for words in said), lines[0]


def test_every_fault_is_said_at_once() -> None:
    recipe = load_recipe()
    typo(recipe)
    no_shards(recipe)
    with pytest.raises(ConfigError) as error:
        read_recipe(recipe)
    assert len(str(error.value).splitlines()) == 2


def test_the_recipe_of_the_tests_is_right() -> None:
    assert read_recipe(load_recipe()).recipe == "tiny"


def test_snakemake_says_it_in_the_same_words_and_runs_nothing(
    checkout: Checkout,
) -> None:
    typo(checkout.recipe)
    output = checkout.snakemake(ok=False)
    assert "sets.sums.samplng" in output
    assert "did you mean 'sampling'?" in output
    assert "Traceback" not in output
    assert not (checkout.path / "data").exists()

"""The recipes of this house: complete, consistent, pinned where they can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrace.config import ConfigError, Recipe, merged, read_recipe
from retrace.hub import is_pinned
from retrace.prompts import fill
from retrace.rows import TestCase, Tests

ROOT = Path(__file__).parents[2]
OVER = sorted(path.name for path in (ROOT / "recipes").glob("*.yaml"))


def recipe_of(*names: str) -> Recipe:
    return read_recipe(merged([ROOT / "config.yaml", *(ROOT / n for n in names)]), ROOT)


@pytest.fixture(scope="module")
def sky_t1() -> Recipe:
    return recipe_of()


@pytest.mark.parametrize("name", OVER)
def test_every_recipe_stands_over_the_first_one(name: str) -> None:
    recipe = recipe_of(f"recipes/{name}")
    assert recipe.recipe != "sky-t1-32b-preview"
    assert recipe.students
    tested = {one for b in recipe.benchmarks.values() for one in b.models}
    assert {recipe.models[one].weights for one in tested} >= set(recipe.students)


def test_a_gpu_hour_has_one_price_unless_a_model_says_another(sky_t1: Recipe) -> None:
    price = sky_t1.prices.gpu_hour
    assert price > 0
    assert {m.terms.prices.gpu_hour for m in sky_t1.models.values()} == {price}
    config = merged([ROOT / "config.yaml"])
    config["models"]["sky-t1"]["terms"] = {"prices": {"gpu_hour": 1.5}}
    recipe = read_recipe(config, ROOT)
    assert recipe.models["sky-t1"].terms.prices.of_gpus(3600, 2) == 3.0
    assert recipe.models["qwq-32b-preview"].terms.prices.gpu_hour == price


def test_published_numbers_are_of_benchmarks_that_run(sky_t1: Recipe) -> None:
    assert {one.benchmark for one in sky_t1.published} <= set(sky_t1.benchmarks)
    versions = {
        one.score
        for one in sky_t1.published
        if one.benchmark == "math500" and one.model == "sky-t1"
    }
    assert {82.4, 86.4} <= versions


def test_what_can_be_pinned_is_pinned(sky_t1: Recipe) -> None:
    """The full name of no commit of these could be found: a branch stands there."""
    floating = {
        one.source.repo
        for one in sky_t1.sets.values()
        if one.source.kind == "hub" and not is_pinned(one.source.revision)
    }
    assert floating == {
        "AI-MO/aimo-validation-amc",
        "RUC-AIBOX/long_form_thought_data_5k",
        "svc-huggingface/minerva-math",
    }
    assert all(is_pinned(one.revision) for one in sky_t1.weights.values())


def test_training_sets_are_no_benchmarks(sky_t1: Recipe) -> None:
    taught = {name for one in sky_t1.datasets.values() for name in one.mixture}
    tested = {name for one in sky_t1.benchmarks.values() for name in one.sets}
    assert not taught & tested


def test_the_gated_set_is_confidential(sky_t1: Recipe) -> None:
    gated = [n for n, s in sky_t1.sets.items() if getattr(s.source, "gated", False)]
    assert gated == ["gpqa-diamond"]
    assert all(sky_t1.sets[name].confidential for name in gated)


def test_the_short_prompts_are_the_recipes_own(sky_t1: Recipe) -> None:
    def asked(name: str, style: str = "", model: str = "") -> str:
        template = sky_t1.sets[name].template
        if model:
            template = sky_t1.models[model].templates.get(name, template)
        given = {"tests": [TestCase(input="1")], "starter_code": "def f():"}
        tests = Tests.model_validate({"style": style, **given}) if style else None
        return fill(template, "Q {x}", tests)

    box = "Return your final response within \\boxed{}"
    assert asked("numina-math") == f"{box}. Q {{x}}"
    assert asked("aime24") == f"{box}. Q {{x}}"
    assert asked("aime24", model="sky-t1") == f"Q {{x}}\n{box}"
    assert asked("apps", "stdin").endswith("after the definition. Q {x}\ndef f():")
    assert asked("apps", "call").endswith("at the final solution. Q {x}\ndef f():")
    assert asked("lcb-easy", "call").endswith("at the final solution. Q {x}")
    assert asked("taco-train", "stdin") == (
        "\nQUESTION:\nQ {x}\nUse Standard Input format\nANSWER:\n"
    )
    assert asked("taco-train", "call") == (
        "\nQUESTION:\nQ {x}\ndef f():\nUse Call-Based format\nANSWER:\n"
    )
    teacher = sky_t1.models["qwq-32b-preview"].system
    assert isinstance(teacher, str)
    assert len(teacher) == 107
    assert sky_t1.models["qwen2.5-32b-instruct"].system == teacher


def test_a_long_prompt_comes_from_its_file(sky_t1: Recipe, tmp_path: Path) -> None:
    template = sky_t1.rewriters["sections"].prompt.template
    assert template.endswith("{trace}")
    assert "<|end_of_solution|>" in template
    config = merged([ROOT / "config.yaml"])
    with pytest.raises(ConfigError, match="cannot read prompts/sections"):
        read_recipe(config, tmp_path)


SETS, DATASETS = "sets/math500/", "datasets/sky-t1/"


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (SETS + "judge", {"kind": "choice"}, "judge 'choice' needs references of kind"),
        (SETS + "judge", {"kind": "maths"}, "sets.math500.judge: `kind` is none of"),
        (SETS + "teacher", "still-2", "names no column of them: give `source.trace`"),
        (SETS + "source/expect", [9, 5], r"expect: expected a number of rows, or \["),
        (SETS + "template", "no place", "sets.math500.template: the template holds"),
        (SETS + "template", {"stdin": "{statement}"}, "template.call: missing"),
        (SETS + "source/filters", [{"kind": "slice", "start": 2, "stop": 2}], "no row"),
        (SETS + "source/filters", [{"kind": "between", "column": "a"}], "no bound"),
        (DATASETS + "mixture", {"apps": -1}, "mixture.apps: Input should be greater"),
        (DATASETS + "curation/unchecked", ["still"], "unchecked: 'still' is not defi"),
        (DATASETS + "teacher", "still-2", "model 'still-2' is never asked"),
        ("benchmarks/mmlu/models", ["still-2"], "model 'still-2' is never asked"),
        ("models/sky-t1/sampling", {"temp": 1}, "models.sky-t1.sampling: 'temp' is"),
        ("models/sky-t1/sampling", {"temperature": 0}, "over sets.aime24.sampling: n "),
        ("students/sky-t1-32b-preview/ranks", 7, "batch_size 96 is not a multiple of"),
    ],
)
def test_what_would_fail_after_it_was_paid_for_is_no_recipe(
    place: str, value: object, said: str
) -> None:
    config = merged([ROOT / "config.yaml"])
    *above, last = place.split("/")
    section = config
    for key in above:
        section = section[key]
    section[last] = value
    with pytest.raises(ConfigError, match=said) as error:
        read_recipe(config, ROOT)
    assert "function-" not in str(error.value)


def test_null_takes_out_what_lies_below() -> None:
    config = merged([ROOT / "config.yaml"])
    config["datasets"]["sky-t1"]["mixture"]["apps"] = None
    config["benchmarks"]["mmlu"] = None
    recipe = read_recipe(config, ROOT)
    assert "apps" not in recipe.datasets["sky-t1"].mixture
    assert "mmlu" not in recipe.benchmarks

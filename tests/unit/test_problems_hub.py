"""Every hub data set of the Sky-T1 recipe, through the production loader, from a hub on
loopback with made-up rows in the same layouts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants

from retrace.config import Recipe, read_recipe
from retrace.hub import HubError, fetch
from retrace.problems import open_source
from retrace.problems.base import SourceError
from retrace.problems.table import Table
from retrace.rows import Answer, Options, Problem, Tests
from tests import hub_server
from tests.unit import hub_rows

ROOT = Path(__file__).parents[2]
ANSWERS = {
    "numina-math": ["1"],
    "numina-amc-aime": ["B"],
    "numina-olympiads": ["3"],
    "math500": ["1"],
    "aime24": ["025", "033"],
    "olympiadbench": ["2"],
    "amc23": ["27"],
    "aime25": ["70", "468"],
    "minerva": [r"3 \text{ m}"],
    "gsm8k": ["4"],
}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe(yaml.safe_load((ROOT / "config.yaml").read_text()), ROOT)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[hub_server.Hub]:
    with hub_server.serve() as hub:
        for name, files in hub_rows.REPOS.items():
            hub.add(name, files, gated=name == "Idavidrein/gpqa")
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        yield hub


def source_of(recipe: Recipe, name: str, **options: object) -> Table:
    """A set's source as the recipe has it, at the loopback hub's revision and sizes."""
    config = recipe.sets[name].source.model_dump(mode="json")
    config |= {"expect": None, "revision": "main"}
    for one in config["filters"]:
        one["expect"] = None
    if config["labels"]:
        config["labels"]["revision"] = "main"
    source = open_source(config | options)
    assert isinstance(source, Table)
    return source


def load(recipe: Recipe, name: str, **options: object) -> list[Problem]:
    return list(source_of(recipe, name, **options).problems(name))


def test_every_hub_set_of_the_recipe_loads(recipe: Recipe, hub: Any) -> None:
    for name, problem_set in recipe.sets.items():
        problems = load(recipe, name)
        assert problems, name
        for problem in problems:
            assert problem.meta["revision"] == hub.repos[problem_set.source.repo].commit
            assert problem == Problem.model_validate_json(problem.model_dump_json())
    for name in ("numina-math", "taco-test", "lcb-easy", "gpqa-diamond"):
        first, second = load(recipe, name), load(recipe, name)
        assert [p.problem_id for p in first] == [p.problem_id for p in second], name
    assert not [path for path in hub.requests if path.endswith(".py")]


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(recipe: Recipe, hub: Any, name: str) -> None:
    found = [problem.reference for problem in load(recipe, name)]
    assert [one.answer for one in found if isinstance(one, Answer)] == ANSWERS[name]


def test_programs(recipe: Recipe, hub: Any) -> None:
    stdin, call = [problem.reference for problem in load(recipe, "apps")]
    assert isinstance(stdin, Tests)
    assert isinstance(call, Tests)
    assert (stdin.style, stdin.tests[0].input) == ("stdin", "1\n")
    assert (call.style, call.fn_name, call.tests[0].input) == ("call", "f", "[1, [2]]")
    assert call.tests[0].output == "[3]"
    assert call.starter_code == "def f(a, b):"
    assert [p.statement for p in load(recipe, "taco-train")] == ["t1"]
    assert [p.statement for p in load(recipe, "taco-test")] == ["t3"]


def test_livecodebench_reads_two_files_and_the_private_tests(
    recipe: Recipe, hub: Any
) -> None:
    levels = {"lcb-easy": "l1", "lcb-hard": "l2", "lcb-medium": "l3"}
    for name, statement in levels.items():
        assert [p.statement for p in load(recipe, name)] == [statement]
    (problem,) = load(recipe, "lcb-medium")
    tests = problem.reference
    assert isinstance(tests, Tests)
    assert (tests.fn_name, tests.style) == ("solve", "call")
    assert [one.input for one in tests.tests] == ["[[1, 2], 3]"]
    both = {"kind": "livecodebench_tests", "which": "both"}
    (problem,) = load(recipe, "lcb-medium", reference=both)
    assert isinstance(problem.reference, Tests)
    assert len(problem.reference.tests) == 2


def test_options_are_shuffled_by_record_and_not_by_order(
    recipe: Recipe, hub: Any
) -> None:
    problems = load(recipe, "gpqa-diamond")
    assert len(problems) == 20
    places = []
    for number, problem in enumerate(problems):
        reference = problem.reference
        assert isinstance(reference, Options)
        assert reference.options[reference.correct] == f"right {number}"
        letter = "ABCD"[reference.correct]
        assert f"{letter}) right {number}" in problem.statement
        places.append(reference.correct)
    assert len(set(places)) == 4
    last = [{"kind": "slice", "start": 19}]
    assert load(recipe, "gpqa-diamond", filters=last)[0].reference == (
        problems[19].reference
    )


def test_labelled_options(recipe: Recipe, hub: Any) -> None:
    (arc,) = load(recipe, "arc-challenge")
    assert arc.reference == Options(options=["u", "v", "w"], correct=2)
    assert arc.statement == "r\nAnswer Choices: (A) u (B) v (C) w"
    (mmlu,) = load(recipe, "mmlu")
    assert mmlu.reference == Options(options=["a", "b"], correct=1)


def test_imported_traces_come_with_their_problems(recipe: Recipe, hub: Any) -> None:
    found = list(source_of(recipe, "still2-science").traced("still2-science"))
    assert [problem.statement for problem, _ in found] == ["physics?", "chemistry?"]
    assert {text for _, text in found} == {hub_rows.TRACE}
    math = list(source_of(recipe, "sky-t1-17k-math").traced("x"))
    other = list(source_of(recipe, "sky-t1-17k-other").traced("x"))
    assert [p.statement for p, _ in math] == [hub_rows.BOXED + "2+2?"]
    assert [p.statement for p, _ in other] == ["Write a program."]


# --- The order of the filters ---------------------------------------------------------


def numina_rows() -> list[hub_rows.Row]:
    """Rows of which each order of slice, box and difficulty keeps others."""
    row = hub_rows.numina
    return [
        row("other first", "math", r"\boxed{0}"),
        row("no box", "olympiads", "It is shown."),
        row("too easy", "olympiads", r"\boxed{1}"),
        row("unlabelled", "olympiads", r"\boxed{2}"),
        row("kept", "olympiads", r"First \boxed{3}, at last \boxed{4}"),
        row("after the slice", "olympiads", r"\boxed{5}"),
    ]


def numina_labels() -> list[hub_rows.Row]:
    label = hub_rows.label
    return [
        label("no box", "olympiads", 9.0),
        label("too easy", "olympiads", 3.0),
        label("kept", "olympiads", 3.0),
        label("kept", "olympiads", 9.0),
        label("after the slice", "olympiads", 9.0),
        label("unlabelled", "math", 9.0),
    ]


def test_numina_slices_before_it_looks_for_boxes(recipe: Recipe, hub: Any) -> None:
    name = "data/train-00000-of-00001.parquet"
    hub.add("AI-MO/NuminaMath-CoT", {name: hub_rows.parquet(numina_rows())})
    labels = hub_rows.parquet(numina_labels())
    hub.add("NovaSky-AI/labeled_numina_difficulty_859K", {name: labels})
    config = recipe.sets["numina-olympiads"].source.model_dump(mode="json")
    kinds = [one["kind"] for one in config["filters"]]
    assert kinds == ["equal", "slice", "contains", "between"]
    assert config["filters"][1]["stop"] == 20000
    filters = [{**one, "expect": None} for one in config["filters"]]
    filters[1]["stop"] = 4

    def kept(order: list[int]) -> list[str]:
        chosen = [filters[place] for place in order]
        problems = load(recipe, "numina-olympiads", filters=chosen)
        return [problem.statement for problem in problems]

    assert kept([0, 1, 2, 3]) == ["kept"]
    with pytest.raises(SourceError, match="no row gives a problem"):
        kept([1, 0, 2, 3])
    assert kept([0, 2, 1, 3]) == ["kept", "after the slice"]
    assert kept([0, 2, 3, 1]) == ["kept", "after the slice"]
    (problem,) = load(recipe, "numina-olympiads", filters=filters)
    assert problem.reference == Answer(answer="4")
    assert problem.meta["difficulty"] == 9.0


def test_a_count_outside_the_expected_range_stops_with_the_difference(
    recipe: Recipe, hub: Any
) -> None:
    with pytest.raises(SourceError, match="expected 30: 28 too few"):
        load(recipe, "aime24", expect=30)
    only = {"kind": "contains", "column": "url", "text": "2024", "expect": 1}
    with pytest.raises(SourceError, match=r"after filter 1 .*expected 1: 1 too many"):
        load(recipe, "aime24", filters=[only])
    assert len(load(recipe, "aime24", expect=(1, 2))) == 2


# --- What a hub can do to a loader ----------------------------------------------------


def test_two_parts_of_a_pinned_commit_are_fetched_one_after_the_other(
    recipe: Recipe, hub: Any
) -> None:
    commit = hub.repos["BAAI/TACO"].commit
    first = load(recipe, "taco-train", revision=commit)
    second = load(recipe, "taco-test", revision=commit)
    assert [p.statement for p in first + second] == ["t1", "t3"]
    seen = len(hub.requests)
    load(recipe, "taco-train", revision=commit)
    assert not [
        path for path in hub.requests[seen:] if path.startswith("GET /datasets")
    ]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("math500", {"repo": "nobody/nothing"}, "knows no such dataset"),
        ("math500", {"revision": "0" * 40}, "no such revision"),
        ("math500", {"data_files": ["train.jsonl"]}, "has no file train.jsonl"),
    ],
)
def test_what_is_not_there(
    recipe: Recipe, hub: Any, name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(HubError, match=message):
        load(recipe, name, **options)


def test_a_gated_set_without_a_token(
    recipe: Recipe, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="is gated: accept its terms at https"):
        load(recipe, "gpqa-diamond")


def test_a_download_that_ends_early_is_no_file(
    recipe: Recipe, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    hub.repos["HuggingFaceH4/MATH-500"].truncated.add("test.jsonl")
    with pytest.raises(HubError, match="download failed, run the same command"):
        load(recipe, "math500")
    hub.repos["HuggingFaceH4/MATH-500"].truncated.clear()
    assert len(load(recipe, "math500")) == 1


def test_an_unreachable_hub(
    recipe: Recipe, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"hub cannot be reached|download failed"):
        load(recipe, "math500")


def test_the_published_text_is_checked(recipe: Recipe, hub: Any) -> None:
    text = recipe.texts["sky-t1-system"].model_copy(update={"revision": "main"})
    with pytest.raises(
        SourceError, match=r"18 characters and sha256 .*, expected c5ae4"
    ):
        text.fetch()


def test_the_script_says_one_line_and_never_the_question(
    recipe: Recipe, hub: Any, tmp_path: Path
) -> None:
    config = source_of(recipe, "gpqa-diamond", expect=198).model_dump_json()
    out = tmp_path / "0000.jsonl"
    command = [
        *(sys.executable, str(ROOT / "scripts/make_problems.py")),
        *("--set", "gpqa-diamond", "--source", config, "--shard", "0"),
        *("--shards", "1", "--out", str(out)),
    ]
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": hub_server.TOKEN,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "20 rows that give a problem, expected 198: 178 too few" in done.stderr
    assert "Made-up question" not in done.stderr + done.stdout
    assert not out.exists()
    command[command.index(config)] = json.dumps(json.loads(config) | {"expect": 20})
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(out.read_text().splitlines()) == 20
    assert "Made-up question" not in done.stderr + done.stdout


def test_fetch_reads_the_cache_when_told_to_stay_offline(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = fetch("openai/gsm8k", "main", ["main/*.parquet"]).commit
    assert commit == hub.repos["openai/gsm8k"].commit
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch("openai/gsm8k", commit, ["main/*.parquet"]).commit == commit

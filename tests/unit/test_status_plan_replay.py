"""`retrace plan` and `retrace replay` on a small recipe against the fault server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrace import cli, engines
from retrace.budget import BudgetError
from retrace.config import ConfigError, read_recipe
from retrace.engines.base import EngineError
from retrace.journal import Journal
from retrace.planning import requests_of
from retrace.problems.base import shard
from retrace.rows import Problem, write_lines, write_rows
from retrace.sampling import ask, describe_contracts, trace_of
from retrace.terms import Terms
from tests.fault_server import FaultServer


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def make_recipe(server: FaultServer, **sampling: Any) -> dict[str, Any]:
    return {
        "recipe": "small",
        "environment": "envs/laptop.txt",
        "models": {
            "m": {
                "engine": {
                    "kind": "openai",
                    "base_url": server.base_url,
                    "model": "m",
                    "key_variables": ["PATH"],
                },
                "terms": {"prices": {"completion": 1e6}},
            }
        },
        "sets": {
            "words": {
                "source": {
                    "kind": "word_problems",
                    "domain": "math",
                    "count": 10,
                    "seed": 1,
                },
                "shards": 2,
                "sampling": {"n": 2, "temperature": 1.0, "max_tokens": 40} | sampling,
                "judge": {"kind": "math"},
            }
        },
        "benchmarks": {"b": {"sets": ["words"], "models": ["m"]}},
    }


@pytest.fixture
def recipe(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    made = make_recipe(server)
    Path("config.yaml").write_text(yaml.safe_dump(made))
    return made


def sample_first_shard(config: dict[str, Any]) -> None:
    """Do what the rules do for one of two shards."""
    recipe = read_recipe(config)
    source = recipe.sets["words"].source
    for number in range(2):
        problems = list(shard(source.problems("words"), 2, number))
        write_rows(Path(f"data/problems/words/{number:04}.jsonl"), problems)
        if number == 0:
            sample(config, problems, f"{number:04}")


def sample(config: dict[str, Any], problems: list[Problem], name: str) -> None:
    recipe = read_recipe(config)
    asked = list(requests_of(recipe, "m", "words", problems))
    settings = recipe.models["m"].engine.model_dump()
    with (
        Journal(Path(f"journals/m/words/{name}.jsonl")) as journal,
        engines.load(settings, "", "", Path("log")) as engine,
    ):
        answers = list(ask(asked, engine, journal, about={"model": "m"}))
    owners = [problem for problem in problems for _ in range(2)]
    rows = [
        trace_of(problem, "m", number % 2, answer)
        for number, (problem, answer) in enumerate(zip(owners, answers, strict=True))
    ]
    folder = Path("data/traces/m/words")
    write_rows(folder / f"{name}.jsonl", rows)
    contracts = {answers[0].contract: len(answers)}
    write_lines(folder / f"{name}.engine.json", describe_contracts("m", contracts))


def plan(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert cli.main(["plan", "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_a_plan_counts_what_is_to_be_asked_before_anything_ran(
    recipe: dict[str, Any], server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    row, total = plan(capsys)
    assert (row["model"], row["set"], row["requests"]) == ("m", "words", 20)
    assert (row["answered"], row["missing"]) == (0, 20)
    assert (row["completion_tokens"], row["tokens"]) == (20 * 40, "at most")
    assert row["dollars"] == pytest.approx(800)
    assert row["gpu_hours"] is None
    assert total["requests"] == 20
    assert server.seen()["requests"] == 0


def test_a_plan_learns_from_the_journals(
    recipe: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    sample_first_shard(recipe)
    row, _ = plan(capsys)
    assert row["answered"] + row["missing"] == row["requests"] == 20
    assert 0 < row["answered"] < 20
    # The server's answers have 5 tokens each.
    assert row["completion_tokens"] == 5 * row["missing"]
    assert row["tokens"] == "measured"
    assert row["dollars"] == pytest.approx(5.0 * row["missing"])
    assert cli.main(["plan"]) == 0
    assert "measured" in capsys.readouterr().out


def test_a_replay_of_a_deterministic_engine_matches(
    recipe: dict[str, Any], server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sample_first_shard(recipe)
    before = server.seen()["requests"]
    assert cli.main(["replay", "m", "words", "--rows", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["same"], found["rate"]) == (5, 5, 1.0)
    assert found["changed_contract"] == {}
    assert server.seen()["requests"] == before + 5


def test_a_replay_says_where_texts_part_and_what_changed(
    recipe: dict[str, Any], server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sample_first_shard(recipe)
    server.change(words=7)
    recipe["models"]["m"]["engine"]["provider"] = "another"
    Path("config.yaml").write_text(yaml.safe_dump(recipe))
    assert cli.main(["replay", "m", "words", "--rows", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["same"]) == (4, 0)
    # The new answers go on where the old ones ended: five words of eight letters.
    assert {parting["at"] for parting in found["partings"]} == {44}
    assert found["changed_contract"]["version"] == [server.base_url, "another"]
    assert cli.main(["replay", "m", "words", "--rows", "4"]) == 0
    assert "parts at character 44 of 44" in capsys.readouterr().out
    recipe["sets"]["words"]["confidential"] = True
    Path("config.yaml").write_text(yaml.safe_dump(recipe))
    assert cli.main(["replay", "m", "words", "--rows", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {parting["at"] for parting in found["partings"]} == {44}
    assert {parting["now"] for parting in found["partings"]} == {"(confidential)"}


def test_a_replay_of_an_unknown_set_or_without_traces_says_so(
    recipe: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", "m", "wrods"]) == 1
    assert "'wrods' is not in `sets`" in capsys.readouterr().err
    assert cli.main(["replay", "m", "words"]) == 1
    assert "holds no traces" in capsys.readouterr().err
    assert not os.path.exists("journals")


def test_a_replay_that_cannot_ask_is_a_line(
    recipe: dict[str, Any], server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sample_first_shard(recipe)
    server.change(key="another")
    assert cli.main(["replay", "m", "words"]) == 1
    assert "check the key, the base URL" in capsys.readouterr().err
    server.change(key="")
    # Asking again is paid for, so the budget of the model holds here too.
    recipe["models"]["m"]["terms"]["budget"] = 1.0
    Path("config.yaml").write_text(yaml.safe_dump(recipe))
    assert cli.main(["replay", "m", "words"]) == 1
    assert "budget of $1.00" in capsys.readouterr().err
    assert cli.main(["replay", "m", "words", "--rows", "0"]) == 2


def test_a_plan_does_not_take_a_missing_price_for_none(
    recipe: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for prices, dollars in (({}, None), ({"completion": 0}, 0.0)):
        recipe["models"]["m"]["terms"] = {"prices": prices}
        Path("config.yaml").write_text(yaml.safe_dump(recipe))
        assert plan(capsys)[0]["dollars"] == dollars


def test_a_plan_says_when_it_cannot_look_into_journals(
    recipe: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample_first_shard(recipe)

    def missing(*_: object) -> None:
        raise EngineError("not installed here")

    monkeypatch.setattr(engines, "load", missing)
    assert cli.main(["plan", "--json"]) == 0
    told = capsys.readouterr()
    assert "m: its journals are not looked up: not installed here" in told.err
    assert json.loads(told.out)[0]["answered"] == 0


def test_a_budget_without_prices_is_refused(recipe: dict[str, Any]) -> None:
    recipe["models"]["m"]["terms"] = {"budget": 5}
    with pytest.raises(ConfigError, match=r"models\.m\.terms: a budget, and nothing"):
        read_recipe(recipe)
    with pytest.raises(BudgetError, match="nothing costs anything"):
        Terms(budget=5).open_budget([], Path("own.jsonl"))

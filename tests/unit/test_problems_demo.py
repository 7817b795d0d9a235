"""The demo's problems: the same every time, growing at the end, disjoint by design."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrace.problems import open_source, word_problems
from retrace.problems.base import shard, shard_digests
from retrace.problems.word_problems import TEMPLATES, UNSEEN, held_out
from retrace.rows import Problem, shard_of

DEMO = yaml.safe_load(
    Path(__file__).parents[2].joinpath("config.demo.yaml").read_text()
)
SETS: dict[str, Any] = DEMO["sets"]
TAUGHT = list(DEMO["datasets"]["verified"]["mixture"])
TESTED = [name for b in DEMO["benchmarks"].values() for name in b["sets"]]


def problems(name: str, **changes: Any) -> list[Problem]:
    source = SETS[name]["source"] | changes
    return list(open_source(source).problems(name))


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_the_same_every_time_and_large_enough(name: str) -> None:
    first = problems(name)
    assert first == problems(name)
    distinct = {problem.problem_id for problem in first}
    assert len(distinct) >= 0.9 * SETS[name]["source"]["count"]


@pytest.mark.parametrize("name", SETS)
def test_a_longer_set_keeps_the_problems_it_had(name: str) -> None:
    count = SETS[name]["source"]["count"]
    longer = problems(name, count=count + 5)
    assert longer[: len(problems(name))] == problems(name)


def test_no_statement_is_both_taught_and_tested() -> None:
    taught = {p.statement for name in TAUGHT for p in problems(name)}
    tested = {p.statement for name in TESTED for p in problems(name)}
    assert taught
    assert tested
    assert not taught & tested


def operands(name: str) -> set[tuple[str, int, int]]:
    return {
        (p.meta["operation"], *sorted(p.meta["operands"]))
        for p in problems(name)
        if p.meta["source"] == "word_problems"
    }


def test_word_problems_share_no_operands_with_a_benchmark() -> None:
    tested = operands("words-new-operands") | operands("words-new-templates")
    assert not operands("words") & tested
    assert all(held_out(operation, a, b) for operation, a, b in tested)  # type: ignore[arg-type]


def test_one_benchmark_shares_no_template_either() -> None:
    def templates(name: str) -> set[str]:
        return {p.meta["template"] for p in problems(name)}

    taught = templates("words") | templates("words-new-operands")
    assert not templates("words-new-templates") & taught
    every = {f"{op}-{n}" for op, list_ in TEMPLATES.items() for n in range(len(list_))}
    unseen = {
        f"{op}-{n}"
        for op, list_ in TEMPLATES.items()
        for n in range(len(list_) - UNSEEN, len(list_))
    }
    assert templates("words-new-templates") <= unseen
    assert taught <= every - unseen


@pytest.mark.parametrize("steps", [1, 2])
def test_the_reference_of_a_word_problem_is_its_arithmetic(steps: int) -> None:
    source: Mapping[str, Any] = {
        "kind": "word_problems",
        "domain": "math",
        "count": 200,
        "steps": steps,
    }
    for problem in open_source(source).problems("x"):
        a, b = problem.meta["operands"]
        one = {"add": a + b, "subtract": a - b, "multiply": a * b}
        value = one[problem.meta["operation"]]
        answer = int(problem.reference.answer)  # type: ignore[union-attr]
        assert answer >= 0
        assert (answer == value) or steps == 2
        assert str(a) in problem.statement
        assert str(b) in problem.statement


def test_too_many_word_problems_are_refused_with_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(word_problems, "NAMES", ["Ada", "Ben"])
    monkeypatch.setattr(word_problems, "THINGS", ["coins"])
    source = {"kind": "word_problems", "domain": "math", "count": 10**5, "largest": 3}
    with pytest.raises(ValueError, match="raise `largest`, or ask for fewer"):
        list(open_source(source).problems("x"))
    source |= {"operations": ["subtract"], "smallest": 3}
    with pytest.raises(ValueError, match="no train operands to subtract"):
        list(open_source(source).problems("x"))


def test_a_new_problem_changes_only_its_own_shard() -> None:
    before, after = (
        problems("words"),
        problems("words", count=len(problems("words")) + 1),
    )
    new = after[-1]
    digests = shard_digests(before, 8), shard_digests(after, 8)
    changed = [n for n in range(8) if digests[0][n] != digests[1][n]]
    assert changed == [shard_of(new.problem_id, 8)]
    rows = [list(shard(after, 8, number)) for number in range(8)]
    assert sum(len(part) for part in rows) == len(after)
    assert new in rows[changed[0]]

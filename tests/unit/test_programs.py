"""Our own programming problems."""

from __future__ import annotations

import pytest

from retrace.judging.code import Judge, Policy
from retrace.problems.programs import FAMILIES, Source
from retrace.rows import Domain, Problem, Reason, Tests


def source(**options: object) -> Source:
    given = {"kind": "programs", "domain": "code", "count": 60, **options}
    return Source.model_validate(given)


def pairs(problems: list[Problem]) -> set[tuple[str, int]]:
    return {(p.meta["family"], p.meta["parameter"]) for p in problems}


def test_train_and_benchmark_share_nothing() -> None:
    train = list(source(count=400).problems("train"))
    bench = list(source(part="held_out", count=100).problems("bench"))
    assert not pairs(train) & pairs(bench)
    assert not {p.statement for p in train} & {p.statement for p in bench}
    assert len({p.problem_id for p in train}) == 400


def test_the_same_settings_give_the_same_problems() -> None:
    assert list(source().problems("a")) == list(source().problems("a"))
    assert list(source(seed=1).problems("a")) != list(source().problems("a"))


def test_more_problems_keep_the_first_ones() -> None:
    few = list(source(count=10).problems("a"))
    assert list(source(count=40).problems("a"))[:10] == few


def test_both_styles_and_levels_are_there() -> None:
    found = list(source(count=120).problems("a"))
    assert {p.domain for p in found} == {Domain.CODE}
    styles = {p.reference.style for p in found if isinstance(p.reference, Tests)}
    assert styles == {"call", "stdin"}
    assert {p.meta["level"] for p in found} == {"easy", "medium"}
    assert {p.meta["family"] for p in found} == set(FAMILIES)


def test_asking_for_too_many_says_how_many_there_are() -> None:
    with pytest.raises(ValueError, match=r"there are \d+ different programs"):
        list(source(count=10_000).problems("a"))


RIGHT = {
    "add": "{k} + x",
    "count_letter": "x.count('{k}')",
    "scale": "[n * {k} for n in x]",
    "sort_by_remainder": "sorted(x, key=lambda n: n % {k})",
}
READ = {
    "integer": "int(input())",
    "word": "input()",
    "integers": "list(map(int, input().split()))",
}
WRITE = "print(*y) if isinstance(y, list) else print(y)"


def solution(problem: Problem, wrong: bool) -> str:
    family, parameter = problem.meta["family"], problem.meta["parameter"]
    shown = (
        "abcdefghiklmnoprstu"[parameter - 2] if FAMILIES[family].letter else parameter
    )
    body = RIGHT[family].format(k=shown)
    if wrong:
        body = f"({body}) * 2"
    assert isinstance(problem.reference, Tests)
    if problem.reference.style == "call":
        return f"def {problem.reference.fn_name}(x):\n    return {body}"
    return f"x = {READ[FAMILIES[family].takes]}\ny = {body}\n{WRITE}"


def test_right_programs_pass_and_wrong_ones_fail() -> None:
    problems = [p for p in source(count=480).problems("a") if p.meta["family"] in RIGHT]
    chosen = problems[:16]
    items = [
        (p, f"```python\n{solution(p, wrong)}\n```") for p in chosen for wrong in (0, 1)
    ]
    with Judge(Policy(modules=()), workers=1) as judge:
        reasons = [found.reason for found in judge.judge(items)]
    assert set(reasons[0::2]) == {Reason.CORRECT}
    assert set(reasons[1::2]) == {Reason.WRONG_ANSWER}
